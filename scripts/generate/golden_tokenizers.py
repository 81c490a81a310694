#!/usr/bin/env python3
"""Writes tests/golden/tokenizer/*.json: tiny tokenizers and what the `tokenizers` package makes of some texts.

    python3 scripts/generate/golden_tokenizers.py FOLDER

Each file is {"tokenizer": <tokenizer.json>, "cases": [{"text", "ids", "ids_without_special", "decoded"}]}.
"""

import json
import sys
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
          r"\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")
OTHER = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t)?|\p{N}{1,3}+|"
         r" ?[^\s\p{L}\p{N}]++[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")

CORPUS = ["It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of "
          "foolishness; we've said that they'll know, and I'm sure he'd say it's true.",
          "for (int i = 0; i < 1000; ++i) {\n    total += values[i];\n}\n\nreturn total;\n",
          "Les élèves étaient à l'école; die Straße ist schön. Привет, мир! 你好，世界。こんにちは世界"] * 3

TEXTS = [
    "", " ", "   ", "a", "It was the best of times.", "we've WE'VE we'Ve it'ſ 'tis 's'T'll", "1234567 12 3.14159",
    "\n", "\r\n\r\n", " \n \n x", "x  \n\n  y\t\tz", "  leading", "trailing  ", "end\u00a0of\u2003line\u3000!",
    "\u180ea\u200bb\u0085c", "if (x == 1) {\r\n\treturn y;\r\n}", "café cafe\u0301 \u1e9b\u0323 \u212b", "\uac00 \u1100\u1161\u11a8 \uac00\u11a7",
    "e\u0323\u0301 e\u0301\u0323 a\u07fd\u0334", "Привет мир 你好世界 こんにちは नमस्ते ภาษาไทย שלום",
    "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽🇩🇪", "\U00031350\U0001611e\U0002ebf0 \U0001e4d0x", "\ue000\uffff\U0010ffff\ufffd", "\x00\x01\x7f", "x²½Ⅷ٣३",
    "<s>It was</s> true<s><s>", "a  <mask>  b<mask>c", "word words sword word.", " 'né' ne\u0301 né", "tool  <tool>  tool",
    "--==>>//**", "a" * 300, "the " * 40, "Ġ Ā ń", "0x1F600 #[derive(Debug)] a_b __init__",
]


def train(pre_tokenizer, normalizer=None, added=(), template=None, vocab_size=420, **model):
    tokenizer = Tokenizer(models.BPE(**model))
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    if normalizer:
        tokenizer.normalizer = normalizer
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(CORPUS, trainer)
    for token in added:
        (tokenizer.add_special_tokens if token.special else tokenizer.add_tokens)([token])
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    if template:
        ids = [(piece, tokenizer.token_to_id(piece)) for piece in template.split() if piece != "$A"]
        tokenizer.post_processor = processors.Sequence([
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(single=template, pair=template + " $B", special_tokens=ids)])
    return tokenizer


def special(text, **flags):
    return AddedToken(text, special=True, normalized=False, **flags)


def split(pattern):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def write(path, tokenizer, change=None):
    content = json.loads(tokenizer.to_str())
    if change:
        change(content["model"])
        tokenizer = Tokenizer.from_str(json.dumps(content))
    cases = []
    for text in TEXTS:
        ids = tokenizer.encode(text).ids
        plain = tokenizer.encode(text, add_special_tokens=False).ids
        cases.append({"text": text, "ids": ids, "ids_without_special": plain,
                      "decoded": tokenizer.decode(ids, skip_special_tokens=True)})
    path.write_text(json.dumps({"tokenizer": content, "cases": cases}, ensure_ascii=True, separators=(",", ":")) + "\n")


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    bos = [special("<s>"), special("</s>")]
    write(folder / "llama3.json", train(split(LLAMA3), added=bos, template="<s> $A"),
          lambda model: model.update(ignore_merges=True))
    write(folder / "qwen2.json",
          train(split(QWEN2), normalizers.NFC(), [*bos, AddedToken("<tool>", special=False, normalized=False)]),
          lambda model: model.update(continuing_subword_prefix="", end_of_word_suffix="",
                                     merges=[" ".join(pair) for pair in model["merges"]]))
    write(folder / "gpt2.json", train(pre_tokenizers.ByteLevel(add_prefix_space=False), added=bos))
    write(folder / "added_tokens.json",
          train(pre_tokenizers.ByteLevel(add_prefix_space=True), normalizers.Sequence([normalizers.NFC()]),
                [*bos, special("<mask>", lstrip=True, rstrip=True), AddedToken("word", single_word=True, special=False),
                 AddedToken("né", special=False, normalized=True), special("<tool>", rstrip=True)],
                "<s> $A </s>"))
    write(folder / "other_pattern.json", train(split(OTHER), vocab_size=380))
    small = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    small.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    small.decoder = decoders.ByteLevel()
    small.train_from_iterator(CORPUS[:1], trainers.BpeTrainer(vocab_size=60, special_tokens=["<unk>"],
                                                              show_progress=False))
    write(folder / "unknown_bytes.json", small)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
