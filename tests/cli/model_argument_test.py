#!/usr/bin/env python3
"""--model of every verb: a folder as it is, or org/name of a model in the cache; never the network."""

import os
import shutil
import tempfile
import unittest
from pathlib import Path

from program import run

BOOKS = Path(os.environ["SEER_SOURCE_DIR"]) / "models/books-19m-32k"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
VERBS = {"info": [], "tokenize": ["--text", "It was"], "score": ["--text-file", "text.txt"],
         "generate": ["--prompt", "It was", "--max-new-tokens", "2"]}


class ModelArgument(unittest.TestCase):
    def setUp(self):
        self.home = Path(tempfile.mkdtemp(prefix="seer-model-"))
        self.addCleanup(shutil.rmtree, self.home)
        model = self.home / "hub" / "models--org--name"
        self.snapshot = model / "snapshots" / COMMIT
        self.snapshot.mkdir(parents=True)
        for file in BOOKS.iterdir():
            (self.snapshot / file.name).symlink_to(file)
        (model / "refs").mkdir()
        (model / "refs" / "main").write_text(COMMIT)
        (self.home / "text.txt").write_text("It was a dark night.")

    def call(self, verb, model, **environment):
        arguments = [str(self.home / word) if word == "text.txt" else word for word in VERBS[verb]]
        # Port 9 refuses: whoever goes to the network fails.
        plain = {"HF_HOME": str(self.home), "HF_HUB_CACHE": "", "HF_TOKEN": "", "HF_TOKEN_PATH": "",
                 "HF_ENDPOINT": "http://127.0.0.1:9"}
        return run(verb, "--model", model, *arguments, **{**plain, **environment})

    def test_a_model_of_the_cache_is_its_snapshot(self):
        for verb in VERBS:
            with self.subTest(verb=verb):
                found = self.call(verb, "org/name")
                self.assertEqual(found.returncode, 0, found.stderr)
                if verb == "info":
                    self.assertIn(str(self.snapshot), found.stdout)
                else:
                    self.assertEqual(found.stdout, self.call(verb, str(BOOKS)).stdout)

    def test_a_model_that_was_not_pulled(self):
        for verb in VERBS:
            with self.subTest(verb=verb):
                done = self.call(verb, "org/other")
                self.assertEqual((done.returncode, done.stdout), (1, ""))
                self.assertIn("seer pull org/other", done.stderr)
                self.assertIn(str(self.home / "hub"), done.stderr)

    def test_what_is_neither(self):
        for verb in VERBS:
            for model, words in {"nowhere": "no such folder", "/no/such/folder": "no such folder",
                                 str(BOOKS / "config.json"): "is no folder", "": "no such folder",
                                 "../name": "no such folder", "a" * 5000: "cannot be looked up"}.items():
                with self.subTest(verb=verb, model=model):
                    done = self.call(verb, model)
                    self.assertEqual((done.returncode, done.stdout), (1, ""))
                    self.assertIn(words, done.stderr)
                    self.assertEqual(done.stderr.count("\n"), 1)

    def test_a_folder_needs_no_cache(self):
        done = self.call("info", str(BOOKS), HF_TOKEN="no\ttoken", HF_HOME="/no/such/folder")
        self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    unittest.main()
