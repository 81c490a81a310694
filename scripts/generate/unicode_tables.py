#!/usr/bin/env python3
"""Writes src/io/tokenizer/unicode_tables.cpp from what the `tokenizers` package does with each code point.

    python3 scripts/generate/unicode_tables.py >src/io/tokenizer/unicode_tables.cpp

The package's regex engine, its matching of added tokens and its normalizer each follow a version of Unicode of their
own; Seer must follow the same ones. Needs the pinned `tokenizers` (requirements-test.txt), a Python whose unicodedata
is of Unicode 14, and Perl (for the age of each character).
"""

import subprocess
import sys
import unicodedata

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers

CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
CATEGORIES = ("Lu Ll Lt Lm Lo Nd Nl No Mn Mc Me Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Co").split()


def matching(pattern):
    """The code points that a pattern of one character matches."""
    split = pre_tokenizers.Split(Regex(f"(?:{pattern})+"), "removed")
    found = set()
    for start in range(0, len(CODE_POINTS), 4096):
        chunk = CODE_POINTS[start:start + 4096]
        kept = set()
        for _, (begin, end) in split.pre_tokenize_str("".join(map(chr, chunk))):
            kept.update(range(begin, end))
        found.update(c for i, c in enumerate(chunk) if i not in kept)
    return found


def word_characters():
    """The code points that touch a whole word, as added tokens with single_word see it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.add_tokens([AddedToken("\0", single_word=True, normalized=False)])
    return {c for c in CODE_POINTS if c != 0 and not tokenizer.encode(chr(c) + "\0").ids}


def ranges(code_points):
    found = []
    for c in sorted(code_points):
        if found and found[-1][1] == c - 1:
            found[-1][1] = c
        else:
            found.append([c, c])
    return found


def rows(items):
    text, line = "", "   "
    for item in items:
        if len(line) + 1 + len(item) > 118:
            text, line = text + line + "\n", "   "
        line += " " + item
    return text + line + "\n"


def table(comment, name, code_points):
    items = [f"{{0x{a:X}, 0x{b:X}}}," for a, b in ranges(code_points)]
    return f"// {comment}\nconst CodePointRange {name}_ranges[] = {{\n{rows(items)}}};\n\n"


def older_than(age):
    """The code points that were assigned in this version of Unicode."""
    program = (r"for my $c (0..0x10FFFF) { next if $c >= 0xD800 && $c <= 0xDFFF;"
               rf"print qq($c\n) if chr($c) =~ /\p{{Present_In: {age}}}/ }}")
    return set(map(int, subprocess.run(["perl", "-e", program], capture_output=True, text=True,
                                       check=True).stdout.split()))


def main():
    if unicodedata.unidata_version != "14.0.0":
        sys.exit(f"unicodedata is of Unicode {unicodedata.unidata_version}: expected a Python with 14.0.0")
    category = {name: matching(rf"\p{{{name}}}") for name in CATEGORIES}
    letters = matching(r"\p{L}")
    numbers = matching(r"\p{N}")
    marks = matching(r"\p{M}")
    newer = [(a, b, name) for name in CATEGORIES for a, b in
             ranges(c for c in category[name] if unicodedata.category(chr(c)) == "Cn")]
    newer.sort()
    # Marks that came after Unicode 9, and the vowel signs of Kirat Rai, which compose though they are letters.
    unknown_to_nfc = (marks - older_than("9.0")) | (letters & set(range(0x16D40, 0x16D80)))
    print("// Written by scripts/generate/unicode_tables.py; not to be edited.\n"
          "// clang-format off\n"
          '#include "io/tokenizer/unicode_tables.h"\n\n'
          "namespace seer::unicode {\n"
          "namespace {\n")
    print(table("\\p{L}.", "letter", letters), end="")
    print(table("\\p{N}.", "number", numbers), end="")
    print(table("\\s.", "white_space", matching(r"\s")), end="")
    print(table("What touches a whole word, for added tokens with single_word.", "word", word_characters()), end="")
    print(table("Characters that the package's NFC leaves alone, being of a younger Unicode than it knows.",
                "unknown_to_nfc", unknown_to_nfc), end="")
    print("// Characters younger than Unicode 14, with their general category.\n"
          "const CategoryRange younger_ranges[] = {\n"
          + rows(f'{{0x{a:X}, 0x{b:X}, "{name}"}},' for a, b, name in newer) + "};\n")
    print("}  // namespace\n")
    for function, name in [("letters", "letter"), ("numbers", "number"), ("white_space", "white_space"),
                           ("words", "word"), ("unknown_to_nfc", "unknown_to_nfc")]:
        print(f"std::span<const CodePointRange> {function}() {{ return {name}_ranges; }}")
    print("std::span<const CategoryRange> younger_than_14() { return younger_ranges; }")
    print("\n}  // namespace seer::unicode")


if __name__ == "__main__":
    assert tokenizers.__version__ == "0.23.3", tokenizers.__version__
    main()
