#!/usr/bin/env python3
"""seer bench prefill, distill and finetune: records, tables, and what is refused."""

import json
import os
import unittest
from pathlib import Path

from program import run

MODEL = Path(os.environ["SEER_SOURCE_DIR"]) / "tests/golden/parity/llama31"
QUICK = ["--model", str(MODEL), "--repeats", "2", "--warmup", "0", "--design", "Qavg_Kmaxminavg", "--block-size", "16"]
SMALL = [*QUICK, "--seq", "256"]


class BenchModels(unittest.TestCase):
    def lines(self, *arguments):
        done = run("bench", *arguments, "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def test_prefill(self):
        lines = self.lines("prefill", *SMALL, "--policy", "gate:ratio=0.2;random:ratio=0.2")
        self.assertEqual([line["policy"] for line in lines], ["dense", "gate:ratio=0.2", "random:ratio=0.2"])
        for line in lines:
            self.assertEqual((line["benchmark"], line["seq"], line["repeats"], line["prefill_chunk"]),
                             ("prefill", 256, 2, 256))
            self.assertLessEqual(line["seconds"]["min"], line["seconds"]["median"])
            self.assertEqual(set(line["part_seconds"]), {"projections", "selection", "attention", "mlp"})
            self.assertGreater(line["peak_memory_bytes"], 0)
        dense, gate, random = lines
        self.assertEqual((dense["density"], dense["speedup_over_dense"]), (1, 1))
        self.assertEqual(gate["density"], random["density"])
        self.assertTrue(0.05 < gate["density"] < 0.3, gate["density"])

    def test_prefill_in_chunks_of_several_lengths(self):
        lines = self.lines("prefill", *QUICK, "--seq", "128,256", "--prefill-chunk", "64",
                           "--policy", "streaming:ratio=0.5")
        self.assertEqual([(line["seq"], line["prefill_chunk"]) for line in lines], [(128, 64)] * 2 + [(256, 64)] * 2)

    def test_distill(self):
        [line] = self.lines("distill", *SMALL)
        self.assertEqual((line["benchmark"], line["seq"], line["batch_size"]), ("distill", 256, 1))
        self.assertAlmostEqual(line["tokens_per_second"] * line["seconds"]["median"], 256)
        self.assertGreater(line["first_loss"], 0)

    def test_finetune(self):
        [line] = self.lines("finetune", *SMALL, "--batch-size", "2", "--policy", "gate:ratio=0.2", "--gate-interval", "2")
        self.assertEqual((line["benchmark"], line["seq"], line["batch_size"], line["repeats"]), ("finetune", 256, 2, 2))
        self.assertTrue(0.05 < line["density"] < 0.3, line["density"])
        medians = [line[name]["median"] for name in ("dense_seconds", "sparse_seconds", "learning_seconds")]
        dense, sparse, learning = medians
        self.assertAlmostEqual(line["interval_speedup"], dense / ((sparse + learning) / 2))
        self.assertGreater(min(line["sparse_speedup"], line["learning_speedup"]), 0)
        # Without gates nothing learns beside.
        [line] = self.lines("finetune", *SMALL, "--policy", "streaming:ratio=0.2", "--no-recompute")
        self.assertNotIn("learning_seconds", line)
        self.assertFalse(line["recompute"])

    def test_tables(self):
        for verb in "prefill", "distill", "finetune":
            done = run("bench", verb, *SMALL)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("llama31", done.stdout)

    def test_wrong_usage(self):
        for arguments, *words in [
                (["prefill"], "either --shape or --model"),
                (["prefill", "--shape", "gpt-2"], "--shape 'gpt-2'", "llama-3.1-8b", "qwen3-8b"),
                (["prefill", "--shape", "llama-3.1-8b", "--model", str(MODEL)], "either --shape or --model"),
                (["prefill", *SMALL, "--seq", "0"], "--seq 0"),
                (["prefill", *SMALL, "--policy", "gate:x=1"], "gate:x=1"),
                (["prefill", *SMALL, "--repeats", "0"], "--repeats 0"),
                (["prefill", *SMALL, "--prefill-chunk", "0"], "--prefill-chunk 0"),
                (["distill", *SMALL, "--seq", "999999"], "--seq 999999"),
                (["distill", *SMALL, "--batch-size", "0"], "--batch-size 0"),
                (["finetune"], "--model is missing"),
                (["finetune", "--shape", "llama-3.1-8b"], "--shape"),
                (["finetune", *SMALL, "--seq", "999999"], "--seq 999999"),
                (["finetune", *SMALL, "--policy", "dense"], "--policy dense", "gate:ratio=0.1"),
                (["finetune", *SMALL, "--policy", "gate:ratio=7"], "ratio"),
                (["finetune", *SMALL, "--policy", "gate:density=0.1"], "calibrat"),
                (["finetune", *SMALL, "--gate-interval", "0"], "--gate-interval 0")]:
            with self.subTest(arguments=arguments):
                done = run("bench", *arguments)
                self.assertEqual(done.returncode, 2, done.stderr)
                for word in words:
                    self.assertIn(word, done.stderr)
        done = run("bench", "prefill", *SMALL, "--device", "cuda:100")
        self.assertEqual(done.returncode, 1)
        self.assertIn("device cuda:100: ", done.stderr)


if __name__ == "__main__":
    unittest.main()
