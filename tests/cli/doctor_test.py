#!/usr/bin/env python3
"""`seer doctor`."""

import json
import os
import tempfile
import unittest
from pathlib import Path

from program import run

SUBJECTS = ["processor", "threads", "memory", "libtorch", "openmp", "gpu", "cache", "disk", "hub"]


class Doctor(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.home = Path(folder.name)

    def environment(self, **more):
        return {"HF_HOME": str(self.home), "HF_TOKEN": "", "HF_HUB_CACHE": "", "HF_ENDPOINT": "",
                "HF_HUB_OFFLINE": "", "HF_TOKEN_PATH": "", "OMP_NUM_THREADS": "1", **more}

    def findings(self, code=0, **environment):
        done = run("doctor", "--json", **self.environment(**environment))
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        return {line["subject"]: line for line in lines}

    def test_all_subjects(self):
        found = self.findings()
        self.assertEqual(list(found), SUBJECTS)
        for line in found.values():
            self.assertEqual(list(line), ["subject", "verdict", "finding", "fix"])
            self.assertIn(line["verdict"], ("good", "note"))
        self.assertIn("one runtime", found["openmp"]["finding"])
        self.assertIn("kernels", found["gpu"]["finding"])
        self.assertIn("used: ", found["processor"]["finding"])

    def test_text(self):
        done = run("doctor", **self.environment(SEER_CPU_ISA="portable"))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        for subject in SUBJECTS:
            self.assertIn("\n" + subject, "\n" + done.stdout)

    def test_instruction_set(self):
        found = self.findings(code=1, SEER_CPU_ISA="mmx")
        self.assertEqual(found["processor"]["verdict"], "problem")
        self.assertIn("SEER_CPU_ISA", found["processor"]["fix"])

    def test_threads(self):
        """LibTorch may cut OMP_NUM_THREADS to the processors, so fewer of them are made usable."""
        cpus = sorted(os.sched_getaffinity(0))
        if len(cpus) < 2:
            self.skipTest("one processor")
        found = self.findings()
        self.assertIn(f"on {len(cpus)} usable", found["threads"]["finding"])
        os.sched_setaffinity(0, cpus[:1])
        try:
            self.assertIn("on 1 usable", self.findings()["threads"]["finding"])
        finally:
            os.sched_setaffinity(0, cpus)

    def test_cache(self):
        self.assertIn("first 'seer pull'", self.findings()["cache"]["finding"])
        model = self.home / "hub" / "models--org--name"
        (model / "blobs").mkdir(parents=True)
        (model / "snapshots" / "c").mkdir(parents=True)
        (model / "blobs" / "a").write_bytes(b"x")
        self.assertIn("models: 1", self.findings()["cache"]["finding"])
        (model / "blobs" / "b.incomplete").write_bytes(b"x")
        self.assertEqual(self.findings()["cache"]["verdict"], "note")
        (model / "snapshots" / "c" / "config.json").symlink_to("../../blobs/gone")
        found = self.findings(code=1)
        self.assertEqual(found["cache"]["verdict"], "problem")
        self.assertIn("seer pull", found["cache"]["fix"])

    def test_cache_that_is_no_folder(self):
        (self.home / "hub").write_text("")
        self.assertIn("HF_HUB_CACHE", self.findings(code=1)["cache"]["fix"])

    def test_hub(self):
        self.assertIn("https://huggingface.co, without a token", self.findings()["hub"]["finding"])
        found = self.findings(HF_TOKEN="hf_secret", HF_ENDPOINT="http://mirror.example")
        self.assertEqual(found["hub"]["verdict"], "note")
        self.assertNotIn("hf_secret", json.dumps(found))
        self.assertEqual(self.findings(HF_HUB_OFFLINE="1")["hub"]["verdict"], "note")
        self.assertEqual(self.findings(code=1, HF_TOKEN="a b")["hub"]["verdict"], "problem")


if __name__ == "__main__":
    unittest.main()
