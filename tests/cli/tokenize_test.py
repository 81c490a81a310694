#!/usr/bin/env python3
"""`seer tokenize`: ids out, text back, and what is said where something is wrong."""

import json
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

from program import PROGRAM, run

GOLDEN = Path(os.environ["SEER_SOURCE_DIR"]) / "tests" / "golden" / "tokenizer"


class Tokenize(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        golden = json.loads((GOLDEN / "llama3.json").read_text())
        self.cases = golden["cases"]
        self.model = self.folder / "model"
        self.model.mkdir()
        (self.model / "tokenizer.json").write_text(json.dumps(golden["tokenizer"]))

    def tokenize(self, *arguments, model=None, **options):
        return subprocess.run([PROGRAM, "tokenize", "--model", str(model or self.model), *arguments],
                              capture_output=True, check=False, **options)

    def refused(self, code, *words, arguments=(), **options):
        done = self.tokenize(*arguments, **options)
        message = done.stderr.decode()
        self.assertEqual(done.returncode, code, message)
        self.assertEqual(done.stdout, b"")
        for word in words:
            self.assertIn(word, message)

    def test_text_file_and_standard_input(self):
        case = next(case for case in self.cases if case["text"].startswith("we've"))
        file = self.folder / "text.txt"
        file.write_bytes(case["text"].encode())
        for done in (self.tokenize("--text", case["text"], "--json"), self.tokenize("--text-file", str(file), "--json"),
                     self.tokenize("--json", input=case["text"].encode())):
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(done.stderr, b"")
            self.assertEqual(done.stdout.count(b"\n"), 1)
            self.assertEqual(json.loads(done.stdout), {"ids": case["ids"]})
        plain = self.tokenize("--text-file", str(file), "--no-special")
        self.assertEqual([int(word) for word in plain.stdout.split()], case["ids_without_special"])

    def test_line_ends_are_kept(self):
        case = next(case for case in self.cases if "\r\n\treturn" in case["text"])
        done = self.tokenize("--json", input=case["text"].encode())
        self.assertEqual(json.loads(done.stdout)["ids"], case["ids"])

    def test_empty_text(self):
        self.assertEqual(json.loads(self.tokenize("--text", "", "--json", "--no-special").stdout), {"ids": []})

    def test_decode(self):
        case = next(case for case in self.cases if case["text"].startswith("It was"))
        ids = ",".join(map(str, case["ids"]))
        self.assertEqual(self.tokenize("--decode", "--ids", ids, "--no-special").stdout.decode(), case["text"] + "\n")
        shown = json.loads(self.tokenize("--decode", "--ids", f"[{ids}]", "--json").stdout)
        self.assertEqual(shown, {"text": "<s>" + case["text"]})

    def test_wrong_usage(self):
        self.refused(2, "--ids", arguments=["--decode"])
        self.refused(2, "--decode", arguments=["--ids", "1"])
        self.refused(2, "--ids", "'x'", arguments=["--decode", "--ids", "1,x"])
        self.refused(2, "--text", arguments=["--text", "a", "--text-file", "b"])
        self.refused(2, "no text", arguments=["--decode", "--ids", "1", "--text", "a"])
        done = run("tokenize", "--text", "a")
        self.assertEqual(done.returncode, 2)
        self.assertIn("--model", done.stderr)

    def test_wrong_files(self):
        self.refused(1, "no/such", "no such folder", model="no/such", arguments=["--text", "a"])
        self.refused(1, "is no folder", model=self.model / "tokenizer.json", arguments=["--text", "a"])
        self.refused(1, "tokenizer.json: no such file", model=self.folder, arguments=["--text", "a"])
        self.refused(1, "missing.txt: no such file", arguments=["--text-file", "missing.txt"])
        self.refused(1, "is a folder", arguments=["--text-file", str(self.folder)])
        (self.model / "tokenizer.json").write_text('{"model": ')
        self.refused(1, "tokenizer.json", "line 1", arguments=["--text", "a"])

    def test_invalid_utf8_has_its_file_and_byte(self):
        file = self.folder / "bad.txt"
        file.write_bytes(b"0123456789\xff")
        self.refused(1, "bad.txt: ", "UTF-8 at byte 10", arguments=["--text-file", str(file)])
        self.refused(1, "standard input: ", "UTF-8 at byte 2", arguments=[], input=b"ab\xc3")

    def test_ids_that_do_not_exist(self):
        self.refused(1, "--ids: 999999 is no token", arguments=["--decode", "--ids", "1,999999"])
        self.refused(1, "--ids: -1 is no token", arguments=["--decode", "--ids=-1"])


if __name__ == "__main__":
    unittest.main()
