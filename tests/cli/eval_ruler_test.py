#!/usr/bin/env python3
"""seer eval ruler --write: rows, their lengths by seer tokenize, and what is refused."""

import json
import os
import tempfile
import unittest
from pathlib import Path

from program import run

BOOKS = Path(os.environ["SEER_SOURCE_DIR"]) / "models/books-19m-32k"
WITHOUT_DATA = ["niah_single_1", "niah_multikey_2", "niah_multikey_3", "vt", "cwe", "fwe"]


class EvalRuler(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.out = self.folder / "samples.jsonl"

    def write(self, *arguments):
        return run("eval", "ruler", "--model", str(BOOKS), "--write", str(self.out), *arguments)

    def rows(self):
        return [json.loads(line) for line in self.out.read_text().splitlines()]

    def refused(self, code, *arguments, words):
        done = self.write(*arguments)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertEqual(done.stdout, "")
        self.assertFalse(self.out.exists())
        self.assertFalse(Path(f"{self.out}.part").exists())
        for word in words:
            self.assertIn(word, done.stderr)

    def test_rows_have_the_asked_length(self):
        # Also beyond the model's own context, since no weights are read.
        done = self.write("--tasks", "all", "--context", "5001,40000", "--samples", "2")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout, "")
        for task, flag in (("niah_single_2", "--text"), ("qa_1", "--squad"), ("qa_2", "--hotpotqa")):
            self.assertIn(f"{task} is left out: it needs {flag}", done.stderr)
        rows = self.rows()
        self.assertEqual([(row["task"], row["context"], row["index"]) for row in rows],
                         [(task, context, index) for task in WITHOUT_DATA for context in (5001, 40000)
                          for index in range(2)])
        for row in rows:
            self.assertEqual(row["length"], row["context"])
            self.assertEqual(row["prompt_tokens"] + row["max_new_tokens"], row["length"])
            self.assertEqual("depth" in row, row["task"].startswith("niah"))
            text = self.folder / "input.txt"
            text.write_bytes((row["begin"] + row["input"]).encode())
            ids = run("tokenize", "--model", str(BOOKS), "--text-file", str(text), "--json", "--no-special")
            self.assertEqual(len(json.loads(ids.stdout)["ids"]), row["prompt_tokens"])

    def test_text_seed_and_prompt_length(self):
        text = self.folder / "text.txt"
        text.write_text("The old road leads down to the sea. Nobody walks there now. " * 400)
        arguments = ("--tasks", "niah_multivalue,vt", "--text", str(text), "--context", "3000", "--samples", "1")
        found = []
        for more in ((), (), ("--seed", "1"), ("--length-of", "prompt")):
            done = self.write(*arguments, *more)
            self.assertEqual(done.returncode, 0, done.stderr)
            found.append(self.rows())
        self.assertEqual(found[0], found[1])
        self.assertNotEqual(found[0][0]["outputs"], found[2][0]["outputs"])
        self.assertEqual([row["prompt_tokens"] for row in found[3]], [3000, 3000])
        self.assertIn("The old road leads down", found[0][0]["input"])

    def test_refusals(self):
        self.refused(2, "--tasks", "niah", words=["ruler task \"niah\"", "niah_single_1, "])
        self.refused(2, "--tasks", "niah_single_2", words=["niah_single_2", "--text"])
        self.refused(2, "--tasks", "qa_1", words=["qa_1", "--squad"])
        self.refused(2, "--tasks", "vt", "--context", "200", words=["vt: context 200", "tokens or more"])
        self.refused(2, "--length-of", "all", words=["--length-of"])
        self.refused(1, "--tasks", "qa_1", "--squad", str(self.folder / "none.json"), words=["none.json"])
        other = self.folder / "prompts.json"
        other.write_text('{"qa": {"template": "no place", "answer_prefix": ""}}')
        self.refused(1, "--tasks", "vt", "--prompts", str(other), words=["prompts.json", "{context}"])


if __name__ == "__main__":
    unittest.main()
