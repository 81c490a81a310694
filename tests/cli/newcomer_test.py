#!/usr/bin/env python3
"""What goes wrong at a first try: one message that says what to do, and the exit code (1 failed, 2 wrong usage)."""

import json
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

from program import PROGRAM, run

SOURCE = Path(os.environ["SEER_SOURCE_DIR"])
BOOKS = SOURCE / "models/books-19m-32k"
QWEN2_TOKENIZER = SOURCE / "tests/golden/tokenizer/qwen2.json"


class Newcomer(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)
        self.model = self.folder / "model"
        self.model.mkdir()
        for file in BOOKS.iterdir():
            (self.model / file.name).symlink_to(file)
        self.text = self.folder / "text.txt"
        self.text.write_text("It was")
        self.verbs = {"info": [], "tokenize": ["--text", "a"], "score": ["--text-file", str(self.text)],
                      "generate": ["--prompt", "a", "--max-new-tokens", "2"]}

    def refuse(self, code, arguments, *words, output=""):
        done = run(*arguments)
        self.assertEqual(done.returncode, code, (arguments, done.stderr))
        if output is not None:
            self.assertEqual(done.stdout, output)
        for word in words:
            self.assertIn(word, done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)

    def test_folders_that_are_no_model(self):
        empty = self.folder / "empty"
        empty.mkdir()
        for verb, flags in self.verbs.items():
            with self.subTest(verb=verb):
                word = "tokenizer.json" if verb == "tokenize" else "config.json"
                self.refuse(1, [verb, "--model", str(empty), *flags], word)

    def test_no_tokenizer(self):
        (self.model / "tokenizer.json").unlink()
        for verb in "tokenize", "score", "generate":
            with self.subTest(verb=verb):
                self.refuse(1, [verb, "--model", str(self.model), *self.verbs[verb]], "tokenizer.json: no such file",
                            "download")
        (self.model / "tokenizer.model").write_bytes(b"")
        self.refuse(1, ["tokenize", "--model", str(self.model), "--text", "a"], "SentencePiece")

    def test_files_that_cannot_be_read(self):
        # Nobody can read this one at its start, not even root; its size is 0.
        unreadable = "/proc/self/mem"
        for name, verbs in {"config.json": ["info", "score", "generate"],
                            "tokenizer.json": ["tokenize", "score", "generate"],
                            "model-00002-of-00003.safetensors": ["info", "score", "generate"]}.items():
            for target, word in {unreadable: "empty" if name.endswith("json") else "0 bytes",
                                 str(self.folder): "regular file"}.items():
                (self.model / name).unlink()
                (self.model / name).symlink_to(target)
                for verb in verbs:
                    with self.subTest(name=name, verb=verb):
                        self.refuse(1, [verb, "--model", str(self.model), *self.verbs[verb]], name, word, output=None)
            (self.model / name).unlink()
            (self.model / name).symlink_to(BOOKS / name)

    def test_missing_shard(self):
        (self.model / "model-00002-of-00003.safetensors").unlink()
        for verb in "info", "score", "generate":
            with self.subTest(verb=verb):
                self.refuse(1, [verb, "--model", str(self.model), *self.verbs[verb]], "1 of 3",
                            "model-00002-of-00003.safetensors", "Download", output=None)

    def test_texts_that_cannot_be_read(self):
        bad = self.folder / "bad.txt"
        bad.write_bytes(b"ab\xff")
        for verb, flag in (("tokenize", "--text-file"), ("score", "--text-file"), ("generate", "--prompt-file")):
            with self.subTest(verb=verb):
                start = [verb, "--model", str(BOOKS), flag]
                self.refuse(1, [*start, str(bad)], "bad.txt: the text is not valid UTF-8 at byte 2")
                self.refuse(1, [*start, str(self.folder / "none.txt")], "none.txt: no such file")
                self.refuse(1, [*start, str(self.folder)], "is a folder")
                self.refuse(1, [*start, "/proc/self/mem"], "/proc/self/mem: cannot be read")
        self.refuse(1, ["generate", "--model", str(BOOKS), "--prompt", "a\udcff"], "--prompt", "UTF-8 at byte 1")

    def test_a_prompt_without_tokens(self):
        # With a BOS before it, an empty prompt is one token; this tokenizer has none.
        done = run("generate", "--model", str(BOOKS), "--prompt", "", "--max-new-tokens", "2")
        self.assertEqual(done.returncode, 0, done.stderr)
        tokenizer = json.loads(QWEN2_TOKENIZER.read_text())["tokenizer"]
        (self.model / "tokenizer.json").unlink()
        (self.model / "tokenizer.json").write_text(json.dumps(tokenizer))
        self.refuse(1, ["generate", "--model", str(self.model), "--prompt", ""], "no tokens")

    def test_a_context_that_is_too_long(self):
        self.text.write_text("word " * 40000)
        for verb, flag in (("score", "--text-file"), ("generate", "--prompt-file")):
            with self.subTest(verb=verb):
                self.refuse(1, [verb, "--model", str(BOOKS), flag, str(self.text)], "32768", "max_position_embeddings")
        done = run("info", "--model", str(BOOKS), "--context", "100000", "--json")
        self.assertEqual(done.returncode, 0)
        self.assertIn("--context 100000", done.stderr)

    def test_no_room_for_the_output(self):
        for verb, flags in self.verbs.items():
            with self.subTest(verb=verb):
                with open("/dev/full", "wb") as full:
                    done = subprocess.run([PROGRAM, verb, "--model", str(BOOKS), *flags], stdout=full,
                                          stderr=subprocess.PIPE, text=True, check=False)
                self.assertEqual(done.returncode, 1)
                self.assertIn("cannot write the results to standard output", done.stderr)

    def test_wrong_flags(self):
        for verb in "score", "generate":
            start = [verb, "--model", str(BOOKS), *self.verbs[verb]]
            for flag, value, words in (("--dtype", "float16", "float32 or bfloat16"),
                                       ("--device", "gpu", "expected cpu, cuda"),
                                       ("--attention", "flash", "seer or sdpa"), ("--prefill-chunk", "0", "at least 1"),
                                       ("--threads", "0", "1 to 1024"), ("--threads", "99999", "1 to 1024")):
                with self.subTest(verb=verb, flag=flag):
                    self.refuse(2, [*start, flag, value], flag, value, words)

    def test_devices(self):
        for verb in "score", "generate":
            start = [verb, "--model", str(BOOKS), *self.verbs[verb]]
            # No machine has so many, whatever the build.
            self.refuse(1, [*start, "--device", "cuda:100"], "device cuda:100: ")
            self.refuse(2, [*start, "--device", "cuda", "--dtype", "float32"], "--dtype 'float32'",
                        "expected bfloat16 or float16, which the kernels of a GPU take")
            self.refuse(2, [*start, "--dtype", "float16"], "float16 is for --device cuda")


if __name__ == "__main__":
    unittest.main()
