#!/usr/bin/env python3
"""Writes tests/golden/text_metrics.json: scores of invented texts by the Python packages rouge and fuzzywuzzy.

    pip install rouge==1.0.1 fuzzywuzzy==0.18.0 python-Levenshtein
    python3 scripts/generate/golden_text_metrics.py FILE [SEED]

The file is {"cases": [{"metric", "prediction", "reference", "score"}]}; of the metric "classification" also "classes".
What no package has is written here a second time, with Python's regular expressions and str methods.
"""

import json
import random
import re
import string
import sys
import unicodedata
from collections import Counter
from pathlib import Path

from fuzzywuzzy import fuzz
from rouge import Rouge

ENGLISH = ("the a an The A river River walked slowly toward old mill and its wheel; keeper's lamp, 12 7 boats "
           "don't re-read naïve Ångström ÉCOLE école x² Ⅷ a_b I'm a.m. (the) \"an\" 'a' a’s the\u0301 l’an "
           "U+FFFD � 👍 μ Σίσυφος ΟΔΌΣ İzmir ß straße").split(" ")
BLANKS = [" "] * 12 + ["  ", "\n", "\t", " \u00a0", "\u2003", "\u3000", "\x1c", "\u200b", ". ", ".", ".\n", "..", " . "]
CHINESE = list("山水风光河流两岸的小村庄里住着一位老人他每天都去看书，。、！《》「」（）…—？；：") + [
    "GPT", "4", "2024", "Ab", "x", " ", "\n", ".", "3.5", "%", "カ", "한", "é", "①", "２"]
CODE = ["def ", "return ", "x", "y", " = ", "(", ")", ":", "    ", "foo", "bar", "self.", "[0]", " + ", "1", "é", "\t", "\n",
        "\n", "# note", "// note", "`", ";", "{", "}"]
PARAGRAPHS = ["Paragraph ", "paragraph ", "段落", " ", "1", "2", "12", "21", ", ", "and ", "is ", "٣", "１２", "\n", "."]
CLASSES = ["city", "capital city", "state", "Number", "Number of years", "person", "a person", "act", "abstract", "体育",
           "体育比赛", "新闻", "is"]


def english_words(text):
    text = "".join(c for c in text.lower() if c not in string.punctuation)
    return re.sub(r"\b(?:a|an|the)\b", " ", text).split()


def chinese_tokens(text):
    return re.findall(r"[0-9A-Za-z]+|[^\s0-9A-Za-z]", text)


def is_chinese_mark(character):
    """The published list, told by Unicode's names and categories within its blocks."""
    code = ord(character)
    if character in string.punctuation:
        return True
    if 0x2010 <= code <= 0x2027:
        return code in (0x2013, 0x2014, 0x2018, 0x2019, 0x2026, 0x2027) or 0x201B <= code <= 0x201F
    if 0x3001 <= code <= 0x303F:
        marks = ("Ps", "Pe", "Po", "Pd", "Pi", "Pf")
        return (unicodedata.category(character) in marks or code in (0x303E, 0x303F)) and code not in (
            0x3008, 0x3009, 0x300A, 0x303D)
    full = 0xFF01 <= code <= 0xFF64 and not unicodedata.category(character).startswith(("L", "N"))
    return code == 0xFE4F or (full and code != 0xFF0E)


def shared_f1(prediction, reference):
    shared = sum((Counter(prediction) & Counter(reference)).values())
    if shared == 0:
        return 0.0
    precision, recall = shared / len(prediction), shared / len(reference)
    return 2 * precision * recall / (precision + recall)


def qa_f1(prediction, reference):
    return shared_f1(english_words(prediction), english_words(reference))


def qa_f1_zh(prediction, reference):
    return shared_f1(*([token for token in chinese_tokens(text.lower()) if not is_chinese_mark(token[0])]
                       for text in (prediction, reference)))


def rouge_l(prediction, reference):
    try:
        return Rouge().get_scores([prediction], [reference], avg=True)["rouge-l"]["f"]
    except ValueError:  # a text without a sentence
        return 0.0


def rouge_l_zh(prediction, reference):
    return rouge_l(" ".join(chinese_tokens(prediction)), " ".join(chinese_tokens(reference)))


def share_of_numbers(prediction, number):
    numbers = re.findall(r"\d+", prediction)
    return numbers.count(number) / len(numbers) if numbers else 0.0


def paragraph(prediction, reference):
    return share_of_numbers(prediction, re.search(r"Paragraph (\d+)", reference)[1])


def paragraph_zh(prediction, reference):
    return share_of_numbers(prediction, re.search(r"段落(\d+)", reference)[1])


def classification(prediction, reference, classes):
    found = [name for name in classes if name in prediction]
    for name in found:  # grows shorter while it is walked: that is what is published
        if name != reference and name in reference:
            found.remove(name)
    return found.count(reference) / len(found) if reference in found else 0.0


def code_similarity(prediction, reference):
    lines = re.sub(r"^\n+", "", prediction).split("\n")
    code = [line for line in lines if not re.search(r"`|#|//", line)]
    return fuzz.ratio(code[0] if code else "", reference) / 100


def joined(draw, pieces, most, blanks=("",)):
    return "".join(draw.choice(pieces) + draw.choice(blanks) for _ in range(draw.randint(0, most)))


def cases(seed):
    draw = random.Random(seed)

    def case(metric, function, prediction, reference, **more):
        return {"metric": metric, "prediction": prediction, "reference": reference, **more,
                "score": function(prediction, reference, **more)}

    for _ in range(150):
        for metric, function in (("qa_f1", qa_f1), ("rouge_l", rouge_l)):
            yield case(metric, function, joined(draw, ENGLISH, 25, BLANKS), joined(draw, ENGLISH, 25, BLANKS))
        for metric, function in (("qa_f1_zh", qa_f1_zh), ("rouge_l_zh", rouge_l_zh)):
            yield case(metric, function, joined(draw, CHINESE, 30), joined(draw, CHINESE, 30))
        reference = joined(draw, CODE[:17], 12)
        # Often close to the reference.
        line = "".join(c for c in reference if draw.random() < 0.8) if draw.random() < 0.6 else ""
        yield case("code_similarity", code_similarity, joined(draw, CODE, 4) + line + joined(draw, CODE, 6), reference)
        number = draw.choice(["1", "2", "12"])
        yield case("count", share_of_numbers, joined(draw, PARAGRAPHS, 10), number)
        mark = draw.choice(["", "Paragraph x, ", "Paragraph 2 or "])
        yield case("paragraph", paragraph, joined(draw, PARAGRAPHS, 10), f"{mark}Paragraph {number}, Paragraph 7")
        yield case("paragraph_zh", paragraph_zh, joined(draw, PARAGRAPHS, 10), f"段落 3，段落{number}")
        classes = draw.sample(CLASSES, draw.randint(1, len(CLASSES)))
        yield case("classification", classification, joined(draw, CLASSES, 5, (" ", "")), draw.choice(classes),
                   classes=classes)
    # Lines longer than one sentence's usual length.
    for _ in range(4):
        yield case("rouge_l", rouge_l, joined(draw, ENGLISH[:14], 300, BLANKS[:14]), joined(draw, ENGLISH[:14], 200, BLANKS))


def main(arguments):
    if len(arguments) not in (1, 2):
        print(__doc__, file=sys.stderr)
        return 2
    seed = int(arguments[1]) if len(arguments) == 2 else 7
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases(seed))
    Path(arguments[0]).write_text('{"cases": [\n' + lines + "\n]}\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
