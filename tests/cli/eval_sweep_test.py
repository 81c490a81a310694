#!/usr/bin/env python3
"""seer eval sweep: what it measures, going on after kill -9, and what is refused."""

import csv
import json
import os
import signal
import subprocess
import unittest
from pathlib import Path

from program import PROGRAM, ModelVerbTest, run

SOURCE = Path(os.environ["SEER_SOURCE_DIR"])
BOOKS = SOURCE / "models/books-19m-32k"
REFERENCE = json.loads((BOOKS / "reference.json").read_text())
SETTINGS = """
policy = ["dense", "streaming:ratio={density}", "oracle:ratio=0.3"]
density = [0.2, 0.4]
context = [64, 128]
block_size = 16
"""
TASKS = """
[[task]]
name = "ppl"
windows = 2

[[task]]
name = "niah-grid"
context = [256]
depths = 2
repeats = 1

[[task]]
name = "ruler"
context = 600
tasks = ["niah_single_1", "vt"]
samples = 1
"""
POLICIES = ["dense", "streaming:ratio=0.2", "streaming:ratio=0.4", "oracle:ratio=0.3"]


class EvalSweep(ModelVerbTest):
    verb = "eval"
    model = BOOKS

    def setUp(self):
        super().setUp()
        self.text = self.write(REFERENCE["text"], "text.txt")
        self.out = self.folder / "out"

    def config(self, settings=SETTINGS, tasks=TASKS, text=True):
        lines = f'model = "{BOOKS}"\nout = "{self.out}"\n' + (f'text = "{self.text}"\n' if text else "")
        return self.write(lines + settings + tasks, "sweep.toml")

    def sweep(self, config):
        return run("eval", "sweep", "--config", config)

    def lines(self):
        return [json.loads(line) for line in (self.out / "samples.jsonl").read_text().splitlines()]

    def test_all_of_it(self):
        done = self.sweep(self.config())
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = self.lines()
        counts = {}
        for line in lines:
            key = line["task"], line["context"]
            counts[key] = counts.get(key, 0) + 1
        self.assertEqual(counts, {("ppl", 64): 8, ("ppl", 128): 8, ("niah-grid", 256): 8,
                                  ("ruler/niah_single_1", 600): 4, ("ruler/vt", 600): 4})
        self.assertEqual({line["policy"] for line in lines}, set(POLICIES))
        for line in lines:
            self.assertIn("density", line)
            self.assertIn("recall", line)
            self.assertGreater(line["seconds"], 0)
            self.assertGreater(line["peak_memory"], 0)
        with open(self.out / "summary.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        self.assertEqual(len(rows), 4 * 6)  # five tasks and lengths, and the mean of RULER
        means = [row for row in rows if row["task"] == "ruler/mean"]
        for mean in means:
            parts = [line["score"] for line in lines
                     if line["task"].startswith("ruler/") and line["policy"] == mean["policy"]]
            self.assertAlmostEqual(float(mean["score"]), sum(parts) / 2, delta=1e-9)
        self.assertIn("ruler/mean", done.stdout)
        self.assertIn("Perplexity, 128 tokens", (self.out / "report.html").read_text())

    def test_goes_on_after_kill(self):
        config = self.config()
        process = subprocess.Popen([PROGRAM, "eval", "sweep", "--config", config], stderr=subprocess.PIPE,
                                   stdout=subprocess.DEVNULL, text=True)
        for line in process.stderr:
            if line.startswith("seer: 5 of 32"):
                break
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kept = (self.out / "samples.jsonl").read_text().splitlines(keepends=True)
        self.assertTrue(5 <= len(kept) < 32)
        # And in the middle of a line.
        (self.out / "samples.jsonl").write_text("".join(kept) + kept[0][:30])
        done = self.sweep(config)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(f"{len(kept)} of 32 samples", done.stderr)
        whole = (self.out / "samples.jsonl").read_text().splitlines(keepends=True)
        self.assertEqual(whole[:len(kept)], kept)
        names = [(line["task"], line["policy"], line["context"], line["sample"]) for line in self.lines()]
        self.assertEqual(len(names), 32)
        self.assertEqual(len(set(names)), 32)
        # The same scores as in one go.
        before = self.lines()
        (self.out / "samples.jsonl").unlink()
        done = self.sweep(config)
        self.assertEqual(done.returncode, 0, done.stderr)
        keys = "task", "policy", "context", "sample", "density", "recall", "layer_density", "configuration"
        for one, other in zip(before, self.lines()):
            self.assertEqual([one[key] for key in keys], [other[key] for key in keys])
            self.assertEqual(one.get("nll"), other.get("nll"))
            self.assertEqual(one.get("prediction"), other.get("prediction"))
        # Nothing is left to do; other settings are no continuation.
        done = self.sweep(config)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("32 of 32 samples", done.stderr)
        done = self.sweep(self.config(SETTINGS + "seed = 3\n"))
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("ppl was made with seed 0, now it is 3", done.stderr)

    def test_refusals(self):
        for settings, tasks, text, words in [
                (SETTINGS, "", True, ["sweep.toml", "[[task]]"]),
                (SETTINGS, '[[task]]\nwindows = 2\n', True, ["sweep.toml:", "expected a name, one of: ppl,"]),
                (SETTINGS, '[[task]]\nname = "pple"\n', True, ["expected a name"]),
                (SETTINGS, '[[task]]\nname = "ppl"\nwindow = 2\n', True, ["sweep.toml:11", "unknown key 'window'"]),
                (SETTINGS, '[[task]]\nname = "ppl"\nwindows = 0\n', True, ["sweep.toml:9: ppl: windows 0"]),
                (SETTINGS, '[[task]]\nname = "ppl"\nwindows = "x"\n', True, ["--windows", "'x'"]),
                (SETTINGS, '[[task]]\nname = "ppl"\n', False, ["ppl: expected the key text"]),
                (SETTINGS, '[[task]]\nname = "ppl"\n[[task]]\nname = "ppl"\n', True, ["task ppl: is named twice"]),
                ("policy = 'streaming:ratio={density}'\n", '[[task]]\nname = "ppl"\n', True, ["key density"]),
                ("polic = 'dense'\n", '[[task]]\nname = "ppl"\n', True, ["unknown key 'polic'"]),
                ("policy = [\n", "", True, ["sweep.toml:4"]),
                (SETTINGS, '[[task]]\nname = "ruler"\ntasks = ["qa_1"]\n', True, ["qa_1", "--squad"]),
                (SETTINGS + "gates = '/none'\n", '[[task]]\nname = "ppl"\n', True, ["/none"])]:
            with self.subTest(tasks=tasks, settings=settings):
                done = self.sweep(self.config(settings, tasks, text))
                self.assertIn(done.returncode, (1, 2), done.stderr)
                self.assertEqual(done.stdout, "")
                for word in words:
                    self.assertIn(word, done.stderr)
        done = run("eval", "sweep")
        self.assertEqual(done.returncode, 2)
        self.assertIn("--config", done.stderr)
        done = run("eval", "sweep", "--config", str(self.folder / "none.toml"))
        self.assertEqual(done.returncode, 1)
        self.assertIn("none.toml: no such file", done.stderr)


if __name__ == "__main__":
    unittest.main()
