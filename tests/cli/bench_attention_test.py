#!/usr/bin/env python3
"""`seer bench attention` on small shapes: its records, its refusals, its files."""

import json
import os
import signal
import subprocess
import tempfile
import unittest
from pathlib import Path

from program import PROGRAM, run

SMALL = ["bench", "attention", "--seq", "512", "--heads", "4", "--kv-heads", "2", "--head-dim", "32",
         "--threads", "2", "--repeats", "3", "--warmup", "0"]


def records_of(text):
    return [json.loads(line) for line in text.splitlines()]


class Records(unittest.TestCase):
    def run_json(self, *arguments):
        done = run(*SMALL, "--json", *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        return records_of(done.stdout)

    def test_fields(self):
        records = self.run_json("--density", "1.0,0.5")
        self.assertEqual([record["case"] for record in records], ["sdpa", "dense", "sparse", "block_map"])
        for record in records:
            self.assertEqual(record["benchmark"], "attention")
            self.assertEqual(record["device"], "cpu")
            self.assertEqual(record["shape"], {
                "batch": 1, "heads": 4, "kv_heads": 2, "seq": 512, "kv_seq": 512, "head_dim": 32,
                "block_size": 64, "dtype": "float32", "causal": True})
            self.assertEqual(record["machine"]["threads"], 2)
            for field in ("cpu", "logical_cpus", "isa", "torch", "commit", "date"):
                self.assertTrue(record["machine"][field], field)
            seconds = record["seconds"]
            self.assertEqual(record["repeats"], 3)
            self.assertTrue(0 < seconds["min"] <= seconds["median"] <= seconds["max"], seconds)
            self.assertGreater(record["tflops"], 0)
            self.assertGreater(record["share_of_peak"], 0)
            self.assertGreater(record["peak"]["tflops"], 0)
            self.assertTrue(record["sdpa_form"])
            if record["case"] != "sdpa":
                for field in ("speedup_over_sdpa", "time_over_dense", "fraction_of_ideal",
                              "fraction_of_ideal_against_sdpa"):
                    self.assertGreater(record[field], 0, field)
                self.assertLess(record["max_difference"], 1e-4)

    def test_density_is_counted(self):
        # 8 x 8 blocks, 36 in the triangle. Always kept: the diagonal (8) and the first column (7 more).
        sparse = [r for r in self.run_json("--density", "0.5,0.1") if r["case"] == "sparse"]
        self.assertEqual([record["density_asked"] for record in sparse], [0.5, 0.1])
        self.assertAlmostEqual(sparse[0]["density"], 18 / 36)
        self.assertAlmostEqual(sparse[1]["density"], 15 / 36)
        # A block of the diagonal has 64 x 65 / 2 visible pairs, any other 64 x 64.
        pairs = (8 * 64 * 65 / 2 + 7 * 64 * 64) / (512 * 513 / 2)
        self.assertAlmostEqual(sparse[1]["density_of_pairs"], pairs)

    def test_shapes(self):
        for arguments in (["--seq", "1"], ["--seq", "65", "--kv-seq", "200"], ["--seq", "130", "--batch", "2"],
                          ["--block-size", "16"], ["--block-size", "128", "--head-dim", "80"],
                          ["--heads", "4", "--kv-heads", "4"], ["--dtype", "bfloat16"], ["--threads", "1"]):
            with self.subTest(arguments=arguments):
                self.assertEqual(len(self.run_json("--density", "0.4", *arguments)), 4)

    def test_backward(self):
        for arguments in (["--density", "0.5"], ["--density", "0.5", "--dtype", "bfloat16", "--seq", "300"]):
            records = self.run_json("--backward", *arguments)
            self.assertEqual([record["case"] for record in records], ["sdpa", "dense", "sparse"])
            for record in records:
                self.assertEqual(record["benchmark"], "attention_backward")
                self.assertGreater(record["tflops"], 0)
            # 5 products of 2 x head_dim operations for each of the visible pairs.
            dense = records[1]
            pairs = 4 * dense["shape"]["seq"] * (dense["shape"]["seq"] + 1) / 2
            self.assertAlmostEqual(dense["tflops"] * dense["seconds"]["median"] * 1e12 / (10 * 32 * pairs), 1)
        self.assertEqual(len(self.run_json("--backward", "--density", "1.0", "--kv-heads", "4")), 2)

    def test_only_dense(self):
        self.assertEqual([r["case"] for r in self.run_json("--density", "1.0")], ["sdpa", "dense", "block_map"])

    def test_table(self):
        done = run(*SMALL, "--density", "0.5")
        self.assertEqual(done.returncode, 0, done.stderr)
        for word in ("sdpa", "dense", "sparse", "block_map", "0.5000", "TFLOP/s"):
            self.assertIn(word, done.stdout)

    def test_every_instruction_set_named(self):
        for record in self.run_json_with_isa("portable"):
            self.assertEqual(record["machine"]["isa"], "portable")
            self.assertEqual(record["peak"]["kind"], "float32 fma")

    def run_json_with_isa(self, isa):
        done = run(*SMALL, "--json", SEER_CPU_ISA=isa)
        self.assertEqual(done.returncode, 0, done.stderr)
        return records_of(done.stdout)


class Refusals(unittest.TestCase):
    def expect_refused(self, arguments, *words, code=2, **environment):
        with self.subTest(arguments=arguments):
            done = run("bench", "attention", *arguments, **environment)
            self.assertEqual(done.returncode, code, done.stderr)
            self.assertEqual(done.stdout, "")
            for word in words:
                self.assertIn(word, done.stderr)

    def test_values(self):
        self.expect_refused(["--seq", "0"], "--seq 0", "1 to")
        self.expect_refused(["--seq", "-5"], "--seq -5", "1 to")
        self.expect_refused(["--seq", "many"], "--seq", "an integer", "'many'")
        self.expect_refused(["--seq", "12.5"], "--seq", "an integer", "'12.5'")
        self.expect_refused(["--seq", "99999999999999999999"], "--seq")
        self.expect_refused(["--heads", "5", "--kv-heads", "2"], "--heads 5", "multiple of --kv-heads 2")
        self.expect_refused(["--kv-heads", "0"], "--kv-heads 0")
        self.expect_refused(["--head-dim", "513"], "--head-dim 513", "512")
        self.expect_refused(["--batch", "0"], "--batch 0")
        self.expect_refused(["--seq", "100", "--kv-seq", "99"], "--kv-seq 99", "100")
        self.expect_refused(["--backward", "--seq", "100", "--kv-seq", "200"], "--kv-seq 200", "--backward", "100")
        self.expect_refused(["--block-size", "48"], "--block-size 48", "16, 32, 64 or 128")
        for density in ("0", "-0.1", "1.5", "nan"):
            self.expect_refused([f"--density={density}"], "--density", "above 0 and at most 1")
        self.expect_refused(["--density", "0.1,half"], "--density", "a number", "'half'")
        self.expect_refused(["--dtype", "float16"], "--dtype 'float16'", "float32 or bfloat16")
        self.expect_refused(["--device", "cuda:100"], "device cuda:100", code=1)
        self.expect_refused(["--device", "tpu"], '--device "tpu"', "expected cpu, cuda")
        self.expect_refused(["--gates", "none"], "--model, --gates and --text")
        self.expect_refused(["--threads", "0"], "--threads 0", "1 to")
        self.expect_refused(["--repeats", "0"], "--repeats 0")
        self.expect_refused(["--warmup", "-1"], "--warmup -1")
        self.expect_refused(["--seed", "-1"], "--seed", "'-1'")

    def test_memory(self):
        self.expect_refused(["--seq", "4194304", "--heads", "1024", "--kv-heads", "1024"],
                            "GB of memory", "available", "--seq (4194304)", "--heads (1024)")

    def test_instruction_set(self):
        self.expect_refused(["--seq", "64"], "SEER_CPU_ISA=mmx", "portable", SEER_CPU_ISA="mmx")


class Files(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def test_out_holds_the_records(self):
        out = self.folder / "results.json"
        out.write_text("old")
        done = run(*SMALL, "--json", "--out", str(out))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(out.read_text(), done.stdout)
        self.assertEqual(os.listdir(self.folder), ["results.json"])

    def test_a_refusal_leaves_the_old_file(self):
        out = self.folder / "results.json"
        out.write_text("old")
        self.assertEqual(run(*SMALL, "--seq", "0", "--out", str(out)).returncode, 2)
        self.assertEqual(out.read_text(), "old")
        self.assertEqual(os.listdir(self.folder), ["results.json"])

    def test_unwritable_out_fails_before_any_work(self):
        for out in (self.folder / "missing" / "results.json", self.folder):
            done = run(*SMALL, "--out", str(out))
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn(str(out), done.stderr)
            self.assertEqual(done.stdout, "")
            self.assertNotIn("round", done.stderr)

    def test_interrupt_writes_nothing(self):
        out = self.folder / "results.json"
        out.write_text("old")
        program = subprocess.Popen([PROGRAM, *SMALL, "--repeats", "10000", "--out", str(out)],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for line in program.stderr:
            if "round 1 " in line:
                break
        program.send_signal(signal.SIGINT)
        stdout, stderr = program.communicate()
        self.assertEqual(program.returncode, 130, stderr)
        self.assertIn("interrupted", stderr)
        self.assertEqual(stdout, "")
        self.assertEqual(out.read_text(), "old")
        self.assertEqual(os.listdir(self.folder), ["results.json"])


if __name__ == "__main__":
    unittest.main()
