#!/usr/bin/env python3
"""seer eval and seer plot: values, result files, resumption, and what is refused."""

import json
import math
import os
import re
import signal
import subprocess
import unittest
from pathlib import Path

from program import PROGRAM, ModelVerbTest, run

SOURCE = Path(os.environ["SEER_SOURCE_DIR"])
BOOKS = SOURCE / "models/books-19m-32k"
REFERENCE = json.loads((BOOKS / "reference.json").read_text())
POLICIES = ["--policy", "dense;streaming:ratio=0.3", "--policy", "oracle:ratio=0.3,sink=1"]


class Eval(ModelVerbTest):
    verb = "eval"
    model = BOOKS

    def setUp(self):
        super().setUp()
        self.text = self.write(REFERENCE["text"], "text.txt")
        self.out = str(self.folder / "results.jsonl")

    def eval(self, task, *arguments, text=None):
        return run("eval", task, "--model", str(self.model), "--text", text or self.text,
                   "--block-size", "16", *arguments)

    def expect_eval_refused(self, code, arguments, *words, task="ppl", text=None):
        done = self.eval(task, *arguments, text=text)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertEqual(done.stdout, "")
        for word in words:
            self.assertIn(word, done.stderr)

    def test_lines(self):
        done = self.eval("ppl", "--context", "64,128", "--windows", "2", "--json", "--out", self.out,
                         *POLICIES)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout, Path(self.out).read_text())
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([(line["context"], line["sample"], line["policy"]) for line in lines],
                         [(context, sample, policy) for context in (64, 128) for sample in (0, 1)
                          for policy in ("dense", "streaming:ratio=0.3", "oracle:ratio=0.3,sink=1")])
        for line in lines:
            self.assertEqual(line["task"], "ppl")
            self.assertEqual(len(line["layer_density"]), 10)
            self.assertEqual(line["density"] == 1, line["policy"] == "dense")
            self.assertTrue(0 < line["recall"] <= 1)
            self.assertGreater(line["seconds"], 0)
            self.assertEqual(line["configuration"]["windows"], 2)
            self.assertTrue(line["origin"]["version"])
            self.assertTrue(line["origin"]["commit"])

    def test_table(self):
        done = self.eval("ppl", "--context", "128", "--windows", "2", "--no-recall", *POLICIES)
        self.assertEqual(done.returncode, 0, done.stderr)
        header, *rows = done.stdout.splitlines()
        self.assertEqual(len(rows), 3)
        for word in "metric", "score", "density", "seconds", "speed", "memory":
            self.assertIn(word, header)
        # As a decoder written out in PyTorch says, in float32.
        perplexity = float(rows[0].split()[5])
        self.assertAlmostEqual(perplexity, 87.733, delta=0.01)
        self.assertIn("6 of 6 samples", done.stderr)

    def test_kinds_of_text(self):
        ids = self.write([0, *REFERENCE["input_ids"]], "ids.json")
        lines = self.write(json.dumps({"content": REFERENCE["text"]}) + "\n", "text.jsonl")
        (self.folder / "texts").mkdir()
        (self.folder / "texts" / "a.txt").write_text(REFERENCE["text"])
        results = []
        for text, flags in [(ids, []), (lines, ["--field", "content"]), (str(self.folder / "texts"), []),
                            (self.text, [])]:
            done = self.eval("ppl", "--context", "100", "--windows", "1", "--json", *flags, text=text)
            self.assertEqual(done.returncode, 0, done.stderr)
            line = json.loads(done.stdout)
            results.append((line["nll"], line["configuration"]["text_hash"]))
        self.assertEqual(len(set(results)), 1, results)

    def test_resumed_is_the_same_as_at_once(self):
        arguments = ["--context", "128", "--windows", "2", *POLICIES]
        done = self.eval("ppl", *arguments, "--out", self.out)
        self.assertEqual(done.returncode, 0, done.stderr)
        whole = Path(self.out).read_text().splitlines(keepends=True)
        self.assertEqual(len(whole), 6)
        # Killed in the middle of the fourth line.
        Path(self.out).write_text("".join(whole[:3]) + whole[3][:50])
        done = self.eval("ppl", *arguments, "--out", self.out, "--resume")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("3 of 6", done.stderr)
        again = Path(self.out).read_text().splitlines(keepends=True)
        self.assertEqual(again[:3], whole[:3])
        keys = "policy", "context", "sample", "nll", "density", "recall", "layer_density", "configuration"
        for before, after in zip(map(json.loads, whole), map(json.loads, again)):
            self.assertEqual([before[key] for key in keys], [after[key] for key in keys])
        # A policy more; nothing is repeated.
        done = self.eval("ppl", *arguments, "--policy", "random:ratio=0.3", "--out", self.out, "--resume")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("6 of 8", done.stderr)
        self.assertEqual(len(Path(self.out).read_text().splitlines()), 8)
        for arguments, words in [(["--seed", "4"], ["seed 0, now it is 4"]),
                                 (["--dtype", "bfloat16"], ["dtype", "float32"]),
                                 (["--windows", "3"], ["windows 2, now it is 3"])]:
            self.expect_eval_refused(1, ["--context", "128", "--windows", "2", "--out", self.out, "--resume",
                                         *arguments], *words)
        self.expect_eval_refused(1, ["--context", "128", "--out", self.out], "exists already", "--resume")

    def test_interrupted(self):
        arguments = ["eval", "ppl", "--model", str(BOOKS), "--text", self.text, "--context", "256",
                     "--windows", "100", "--out", self.out]
        process = subprocess.Popen([PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True)
        for line in process.stderr:
            if line.startswith("seer: 1 of 100"):
                break
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate()
        self.assertEqual(process.returncode, 130, stderr)
        self.assertIn("--resume", stderr)
        self.assertIn("dense", stdout)
        kept = [json.loads(line) for line in Path(self.out).read_text().splitlines()]
        self.assertTrue(1 <= len(kept) < 100)

    def test_niah_and_recall(self):
        done = self.eval("niah", "--context", "256", "--samples", "3", "--policy", "dense", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual(len(lines), 3)
        for line in lines:
            self.assertIsInstance(line["retrieved"], bool)
            self.assertEqual(line["retrieved"], line["answer_tokens"] == 1)
            self.assertNotIn("nll", line)
            self.assertNotIn("windows", line["configuration"])
        done = self.eval("recall", "--context", "128", "--windows", "1", "--policy", "oracle:ratio=0.3",
                         "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        line = json.loads(done.stdout)
        self.assertTrue(0.3 < line["recall"] < 1)
        self.assertEqual(len(line["layer_recall"]), 10)
        self.assertNotIn("nll", line)

    def test_needle_grid(self):
        done = self.eval("niah-grid", "--context", "256", "--depths", "3", "--repeats", "2", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([line["depth"] for line in lines], [0, 0.5, 1] * 2)
        self.assertEqual(lines[0]["configuration"]["depths"], 3)

    def nll_of(self, ids):
        done = run("score", "--model", str(BOOKS), "--json", "--tokens",
                   self.write(json.dumps([0, *ids]), "window.json"))
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)["nll_mean"]

    def test_perplexity_of_documents_and_sliding_windows(self):
        done = self.eval("ppl-documents", "--context", "128", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        document = json.loads(done.stdout)
        # The text is one document.
        self.assertAlmostEqual(document["nll"], self.nll_of(REFERENCE["input_ids"][:127]), delta=1e-5)
        done = self.eval("ppl-sliding", "--context", "128", "--stride", "64", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual(len(lines), 5)  # the last begins at token 256
        # What counts are the last 64 of 127 predictions: those of the window, without those of its first 63 tokens.
        window = REFERENCE["input_ids"][64:64 + 127]
        expected = (127 * self.nll_of(window) - 63 * self.nll_of(window[:63])) / 64
        self.assertAlmostEqual(lines[1]["nll"], expected, delta=1e-4)

    def test_ruler(self):
        done = self.eval("ruler", "--tasks", "niah_single_1,vt", "--context", "600", "--samples", "2", "--json",
                         "--policy", "dense;streaming:ratio=0.3")
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([(line["task"], line["sample"], line["policy"]) for line in lines],
                         [(task, sample, policy) for task in ("ruler/niah_single_1", "ruler/vt")
                          for sample in (0, 1) for policy in ("dense", "streaming:ratio=0.3")])
        for line in lines:
            self.assertEqual(line["metric"], "string_match_all")
            found = sum(word.lower() in line["prediction"].lower() for word in line["references"])
            self.assertAlmostEqual(line["score"], found / len(line["references"]), delta=1e-9)
            self.assertLessEqual(line["prompt_tokens"] + line["generated_tokens"], 600)
            self.assertGreater(line["peak_memory"], 1 << 20)

    def test_refusals(self):
        short = ["--context", "64"]
        self.expect_eval_refused(2, [], "385 tokens are fewer than the 8193", "smaller context")
        self.expect_eval_refused(2, ["--context", "100000"], "context 100000", "32768")
        self.expect_eval_refused(2, ["--context", "x"], "an integer", "'x'")
        self.expect_eval_refused(2, ["--policy", "nothing:ratio=0.1", *short], "nothing")
        self.expect_eval_refused(2, ["--policy", "gate:ratio=0.1", *short], "--gates")
        self.expect_eval_refused(2, ["--policy", "dense;dense", *short], "named twice")
        self.expect_eval_refused(2, ["--windows", "0", *short], "windows 0")
        self.expect_eval_refused(2, ["--resume", *short], "--resume", "--out")
        self.expect_eval_refused(1, ["--gates", str(self.folder), *short], "gate_config.json")
        self.expect_eval_refused(1, ["--out", str(self.folder / "no" / "file"), *short], "no/file")
        self.expect_eval_refused(1, short, "none.txt", text=str(self.folder / "none.txt"))
        self.expect_eval_refused(1, short, "empty.txt", "empty", text=self.write("", "empty.txt"))
        self.expect_eval_refused(1, short, "line.jsonl:1", "--field", text=self.write('{"a": 1}\n', "line.jsonl"))
        self.expect_eval_refused(2, ["--context", "64"], "alone take more", task="niah")
        done = run("eval", "pple")
        self.assertEqual(done.returncode, 2)
        self.assertIn("expected one of: ppl, ppl-documents, ppl-sliding, niah", done.stderr)

    def test_plot(self):
        done = self.eval("ppl", "--context", "128", "--windows", "2", "--out", self.out, *POLICIES)
        self.assertEqual(done.returncode, 0, done.stderr)
        log = self.write('{"step": 1, "loss": 2, "lr": 0.1, "seconds": 1}\n{"step": 2, "loss": 1}\n', "log.jsonl")
        report = self.folder / "report.html"
        done = run("plot", "--results", self.out, "--training", log, "--model", str(BOOKS), "--text", self.text,
                   "--context", "200", "--heads", "2:1,0:3", "--out", str(report))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout, "")
        html = report.read_text()
        for words in ("Perplexity, 128 tokens", "Prefill of 128 tokens", "Distillation: loss", "Layer 2, head 1",
                      "oracle by ratio", "data:image/png"):
            self.assertIn(words, html)
        self.assertFalse(re.search(r"<script|<link|https?://(?!www\.w3\.org/2000/svg)", html))
        self.assertNotIn("Layer 3", html)
        self.assertFalse(any(math.isnan(float(y)) for y in re.findall(r'cy="([^"]+)"', html)))
        for code, arguments, words in [
                (2, [], "--results"),
                (2, ["--model", str(BOOKS)], "--text"),
                (2, ["--model", str(BOOKS), "--text", self.text, "--heads", "a"], "LAYER:HEAD"),
                (2, ["--model", str(BOOKS), "--text", self.text, "--context", "200", "--heads", "99:0"], "99:0"),
                (2, ["--model", str(BOOKS), "--text", self.text], "4096"),
                (1, ["--results", self.text], "text.txt:1"),
                (1, ["--training", self.out], "results.jsonl:1"),
                (1, ["--results", str(self.folder / "none.jsonl")], "none.jsonl")]:
            with self.subTest(arguments=arguments):
                done = run("plot", "--out", str(self.folder / "bad.html"), *arguments)
                self.assertEqual(done.returncode, code, done.stderr)
                self.assertIn(words, done.stderr)
                self.assertFalse((self.folder / "bad.html").exists())


if __name__ == "__main__":
    unittest.main()
