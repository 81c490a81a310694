"""`seer tokenize` against the `tokenizers` package, whose ids are the truth."""

import json
import os
import random
import subprocess
from pathlib import Path

import pytest

tokenizers = pytest.importorskip("tokenizers", reason="tokenizers is not installed")

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("SEER_PROGRAM") or str(REPOSITORY / "build" / "seer")
GOLDEN = REPOSITORY / "tests" / "golden" / "tokenizer"
BOOKS = REPOSITORY.parent / "shared" / "data" / "books"  # not in the tree; the test on them is skipped without it
SEPARATOR = "<s>"  # texts are joined by it, so that one run of the program does many

NAMES = sorted(path.stem for path in GOLDEN.glob("*.json"))
# Every assigned one, many that are not, and some of the private ones.
CODE_POINTS = [*range(1, 0xD800), *range(0xE000, 0xE010), *range(0xF900, 0x33480), *range(0xE0000, 0xE01F0),
               *range(0x10FFF0, 0x110000)]
CHUNK = 1 << 20  # characters; the package takes kilobytes for each
SPACES = [" ", "  ", "\t", "\n", "\r\n", "\n\n", "\u00a0", "\u2003", "\u3000", "\u0085", "\u180e", "\u200b", "\r", "\v"]
ENDINGS = ["'s", "'S", "'t", "'RE", "'ll", "'Ll", "'ve", "'d", "'m", "'\u017f", "\u2019s", "'", "''"]
ADDED = ["</s>", "<mask>", "n\u00e9", "ne\u0301", "word", "<tool>", "<unk>"]
POOLS = [range(0x20, 0x7F), range(0x400, 0x460), range(0x4E00, 0x4E80), range(0x300, 0x370), range(0x1100, 0x1200),
         range(0xAC00, 0xAC40), range(0x660, 0x66A), range(0xE00, 0xE60), range(0x900, 0x980), range(0x1F600, 0x1F650),
         [0x1F469, 0x200D, 0xFE0F, 0x1F3FD, 0x1F1E9, 0x1F1EA], [0x65, 0x6F, 0x301, 0x323, 0x334, 0x7FD, 0x345]]


def part(choose):
    kind = choose.random()
    if kind < 0.2:
        return choose.choice(SPACES) * choose.choice([1, 1, 2, 3, 9])
    if kind < 0.3:
        return choose.choice(ENDINGS)
    if kind < 0.4:
        return choose.choice(ADDED)
    if kind < 0.5:
        return "".join(map(chr, choose.choices(CODE_POINTS, k=choose.randint(1, 5))))
    if kind < 0.6:
        return "".join(choose.choices("0123456789", k=choose.randint(1, 8)))
    return "".join(map(chr, choose.choices(choose.choice(POOLS), k=choose.randint(1, 10))))


def random_texts(count):
    choose = random.Random(7)
    return ["".join(part(choose) for _ in range(choose.randint(1, 25))) for _ in range(count)]


def code_point_texts():
    for context in ["{}", "x{}y ", "'{}e", " {} 1", "\u00e9{}\u0301\u0323's"]:
        yield from (context.replace("{}", chr(c)) for c in CODE_POINTS)


def source_texts():
    for pattern in ("src/**/*.cpp", "scripts/**/*.py"):
        yield from (path.read_text() for path in sorted(REPOSITORY.glob(pattern)))


@pytest.fixture(params=NAMES)
def model(request, tmp_path):
    (tmp_path / "tokenizer.json").write_text(json.dumps(json.loads((GOLDEN / f"{request.param}.json").read_text())
                                                        ["tokenizer"]))
    return tmp_path


def seer(model, *arguments, text):
    file = model / "text.txt"
    file.write_bytes(text.encode())
    return subprocess.run([PROGRAM, "tokenize", "--model", str(model), *arguments, "--text-file", str(file), "--json"],
                          capture_output=True, check=True).stdout


def joined(texts):
    """The texts with separators between them, in chunks."""
    chunk, size = [], 0
    for text in texts:
        chunk.append(text)
        size += len(text) + len(SEPARATOR)
        if size >= CHUNK:
            yield SEPARATOR.join(chunk)
            chunk, size = [], 0
    yield SEPARATOR.join(chunk)


def check(model, texts):
    oracle = tokenizers.Tokenizer.from_file(str(model / "tokenizer.json"))
    for text in joined(texts):
        check_one(model, oracle, text)


def check_one(model, oracle, text):
    ids = json.loads(seer(model, text=text))["ids"]
    expected = oracle.encode(text).ids
    if ids != expected:
        first = next((i for i, pair in enumerate(zip(ids, expected)) if pair[0] != pair[1]), min(len(ids), len(expected)))
        near = slice(max(0, first - 5), first + 5)
        pytest.fail(f"{len(ids)} ids, expected {len(expected)}; the first difference is at {first}: "
                    f"{[oracle.id_to_token(i) for i in ids[near]]}, "
                    f"expected {[oracle.id_to_token(i) for i in expected[near]]}")


def test_random_texts(model):
    check(model, random_texts(10_000))


def test_every_code_point(model):
    check(model, code_point_texts())


def test_source_code(model):
    check(model, source_texts())


@pytest.mark.skipif(not BOOKS.is_dir(), reason=f"no texts in {BOOKS.name}")
def test_books(model):
    check(model, [path.read_bytes().decode() for path in sorted(BOOKS.glob("valid/*.txt"))])
