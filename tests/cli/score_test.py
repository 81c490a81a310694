#!/usr/bin/env python3
"""seer score: values, JSON, and what is refused."""

import json
import os
import unittest
from pathlib import Path

from program import ModelVerbTest

SOURCE = Path(os.environ["SEER_SOURCE_DIR"])
QWEN3 = SOURCE / "tests/golden/parity/qwen3"
BOOKS = SOURCE / "models/books-19m-32k"


class Score(ModelVerbTest):
    verb = "score"
    model = QWEN3

    def test_reference(self):
        reference = json.loads((QWEN3 / "reference.json").read_text())
        for case in reference["cases"]:
            positions = ",".join(case["positions"])
            done = self.call("--tokens", self.write(case), "--positions", positions, "--json")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(done.stderr, "")
            [line] = done.stdout.splitlines()
            score = json.loads(line)
            self.assertEqual(score["num_tokens"], len(case["input_ids"]))
            self.assertEqual(set(score["positions"]), set(case["positions"]))
            for position, expected in case["positions"].items():
                found = score["positions"][position]
                self.assertEqual(found["top5"], expected["top5"])
                for key in "top5_logits", "first8_logits":
                    for a, b in zip(found[key], expected[key]):
                        self.assertAlmostEqual(a, b, delta=2e-4)
                self.assertAlmostEqual(found["logsumexp"], expected["logsumexp"], delta=2e-4)
            if case["nll_mean"] is None:
                self.assertIsNone(score["nll_mean"])
            else:
                self.assertAlmostEqual(score["nll_mean"] / case["nll_mean"], 1, delta=1e-5)

    def test_several_sequences_and_defaults(self):
        done = self.call("--tokens", self.write([[1, 2, 3], [4]]), "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        scores = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([list(score["positions"]) for score in scores], [["2"], ["0"]])

    def test_backends_chunks_and_dtypes_agree(self):
        tokens = self.write([(7 * i) % 500 for i in range(150)])
        nll = []
        for flags in ([], ["--attention", "sdpa"], ["--prefill-chunk", "13"], ["--threads", "1"],
                      ["--dtype", "bfloat16"]):
            done = self.call("--tokens", tokens, "--json", *flags)
            self.assertEqual(done.returncode, 0, done.stderr)
            nll.append(json.loads(done.stdout)["nll_mean"])
        for value in nll[1:4]:
            self.assertAlmostEqual(value / nll[0], 1, delta=1e-6)
        self.assertAlmostEqual(nll[4] / nll[0], 1, delta=1e-2)

    def test_text(self):
        reference = json.loads((BOOKS / "reference.json").read_text())
        text = self.write(reference["text"], "text.txt")
        done = self.call("--text-file", text, "--json", model=BOOKS)
        self.assertEqual(done.returncode, 0, done.stderr)
        score = json.loads(done.stdout)
        # The tokenizer puts BOS (0) before the text, which the reference's ids are without.
        ids = [0, *reference["input_ids"]]
        self.assertEqual(score["num_tokens"], len(ids))
        same = self.call("--tokens", self.write(ids, "ids.json"), "--json", model=BOOKS)
        self.assertAlmostEqual(score["nll_mean"], json.loads(same.stdout)["nll_mean"], delta=1e-6)

    def test_table(self):
        done = self.call("--tokens", self.write([1, 2, 3]), "--positions", "0,2")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("3 tokens, mean negative log-likelihood", done.stdout)
        self.assertIn("position 2", done.stdout)

    def test_wrong_usage(self):
        tokens = self.write([1, 2, 3])
        self.expect_refused(2, [], "--tokens or --text-file")
        self.expect_refused(2, ["--tokens", tokens, "--text-file", tokens], "--tokens or --text-file")
        self.expect_refused(2, ["--tokens", tokens, "--positions", "3"], "position 3", "0 to 2")
        self.expect_refused(2, ["--tokens", tokens, "--positions", "x"], "an integer", "'x'")
        self.expect_refused(2, ["--tokens", tokens, "--dtype", "int8"], "--dtype 'int8'", "bfloat16")
        self.expect_refused(2, ["--tokens", tokens, "--attention", "x"], "--attention 'x'", "sdpa")
        self.expect_refused(2, ["--tokens", tokens, "--prefill-chunk", "0"], "--prefill-chunk 0")

    def test_wrong_tokens(self):
        for content, words in [([], ["no tokens"]), ([1, 512], ["token 1 is id 512", "0 to 511"]),
                               ([-1], ["id -1"]), ([1.5], ["[0]", "1.5"]), (["a"], ["[0]", "string"]),
                               ({"ids": [1]}, ["input_ids"]), ("[1, 2", ["tokens.json"]),
                               ([[1], 2], ["[1]", "number"]), ([1] * 1025, ["1025 tokens", "1024"])]:
            with self.subTest(content=str(content)[:30]):
                self.expect_refused(1, ["--tokens", self.write(content)], *words)
        self.expect_refused(1, ["--tokens", str(self.folder / "none.json")], "none.json")
        self.expect_refused(1, ["--text-file", str(self.folder / "none.txt")], "none.txt",
                            model=BOOKS)

    def test_wrong_model(self):
        self.expect_refused(1, ["--tokens", self.write([1])], "config.json", model=self.folder)
        self.expect_refused(1, ["--text-file", self.write("a")], "tokenizer.json")


if __name__ == "__main__":
    unittest.main()
