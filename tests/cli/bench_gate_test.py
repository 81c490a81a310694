#!/usr/bin/env python3
"""`seer bench gate` on a small layer on the CPU: its records and its refusals."""

import json
import tempfile
import unittest
from pathlib import Path

from program import run

SMALL = ["bench", "gate", "--device", "cpu", "--dtype", "float32", "--heads", "4", "--kv-heads", "2", "--head-dim", "32",
         "--repeats", "2", "--warmup", "0"]


class Gate(unittest.TestCase):
    def test_records(self):
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "gate.jsonl"
            done = run(*SMALL, "--seq", "640,1280", "--policy", "gate:ratio=0.3;gate:mass=0.5", "--json", "--out", str(out))
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(out.read_text(), done.stdout)
        records = [json.loads(line) for line in done.stdout.splitlines()]
        cases = ["gate:ratio=0.3", "libtorch", "gate:mass=0.5"]
        self.assertEqual([(r["shape"]["seq"], r["case"]) for r in records],
                         [(length, case) for length in (640, 1280) for case in cases])
        for record in records:
            for times in ("gate_seconds", "seconds_with_rope", "rope_seconds"):
                self.assertLessEqual(record[times]["min"], record[times]["median"])
                self.assertLessEqual(record[times]["median"], record[times]["max"])
            self.assertGreater(record["rope_seconds"]["min"], 0)
        # k = int((1 - sqrt(1 - 0.3)) * 10) = 1 block in each row of ten: 10 of 55.
        self.assertAlmostEqual(records[0]["density"], 10 / 55)
        self.assertAlmostEqual(records[1]["density"], 10 / 55)

    def test_refusals(self):
        for flags, words in ((["--seq", "10"], "--seq 10: expected"), (["--kv-heads", "3"], "--heads 4: expected a multiple"),
                             (["--policy", "gate:density=0.1"], "have no calibration"),
                             (["--policy", "dense"], "expected one of a gate"), (["--repeats", "0"], "--repeats 0"),
                             (["--design", "Qavg1_Kmaxminavg"], "Qavg1_Kmaxminavg")):
            done = run(*SMALL, *flags)
            self.assertEqual(done.returncode, 2, (flags, done.stderr))
            self.assertIn(words, done.stderr)
            self.assertEqual(done.stdout, "")


if __name__ == "__main__":
    unittest.main()
