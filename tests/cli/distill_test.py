"""`seer distill`, `seer calibrate`, and what verbs do with the adapter, on the bundled model."""

import json
import os
import signal
import subprocess
import time
import unittest
from pathlib import Path

from program import PROGRAM, ModelVerbTest, run

SOURCE = Path(os.environ["SEER_SOURCE_DIR"])
MODEL = SOURCE / "models" / "books-19m-32k"
TEXT = SOURCE / "examples" / "demo" / "valid.jsonl"
SMALL = ["--text", str(TEXT), "--context", "256", "--steps", "6", "--warmup-steps", "2", "--checkpoint-interval", "2",
         "--calibration-lengths", "512,1024", "--calibration-tokens", "1024"]


class DistillTest(ModelVerbTest):
    verb = "distill"
    model = MODEL

    def distill(self, name, *arguments):
        done = self.call("--out", str(self.folder / name), *SMALL, *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def weights(self, name):
        return (self.folder / name / "gates.safetensors").read_bytes()

    def test_killed_and_resumed_training_ends_with_the_same_weights(self):
        self.killed_and_resumed()

    def test_killed_and_resumed_training_with_replay_and_several_lengths(self):
        self.killed_and_resumed("--context", "256:4,512:2", "--replay", "2", "--replay-sequences", "3")

    def killed_and_resumed(self, *arguments):
        self.distill("whole", *arguments)
        log = [json.loads(line) for line in (self.folder / "whole.log.jsonl").read_text().splitlines()]
        self.assertEqual([line["step"] for line in log], [1, 2, 3, 4, 5, 6])
        self.assertEqual(len(log[0]["layer_recall"]), 10)

        out = self.folder / "part"
        process = subprocess.Popen([PROGRAM, "distill", "--model", str(MODEL), "--out", str(out), *SMALL, *arguments],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        state = Path(str(out) + ".checkpoint") / "training.json"
        while not (state.exists() and json.loads(state.read_text())["step"] > 0):
            self.assertIsNone(process.poll(), "ended before its first checkpoint")
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        self.assertFalse(out.exists())
        self.expect_refused(1, ["--out", str(out), *SMALL, *arguments], "--resume", "checkpoint")
        self.expect_refused(1, ["--out", str(out), *SMALL, *arguments, "--resume", "--learning-rate", "1"],
                            "learning_rate")
        self.distill("part", "--resume", *arguments)
        self.assertEqual(self.weights("part"), self.weights("whole"))
        resumed = [json.loads(line)["step"] for line in (self.folder / "part.log.jsonl").read_text().splitlines()]
        self.assertEqual(resumed, [1, 2, 3, 4, 5, 6])
        self.assertFalse(Path(str(out) + ".checkpoint").exists())

    def test_interrupted_training_keeps_its_steps(self):
        out = self.folder / "stopped"
        process = subprocess.Popen([PROGRAM, "distill", "--model", str(MODEL), "--out", str(out), *SMALL, "--steps", "500"],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        log = Path(str(out) + ".log.jsonl")
        while not (log.exists() and log.read_text()):
            self.assertIsNone(process.poll())
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
        self.assertEqual(process.returncode, 130, errors)
        self.assertIn("--resume", errors)
        state = json.loads((Path(str(out) + ".checkpoint") / "training.json").read_text())
        self.assertGreaterEqual(state["step"], 1)

    def test_adapter_serves_the_other_verbs(self):
        self.distill("gates")
        gates = str(self.folder / "gates")
        tokens = self.write(list(range(300, 1400)))
        for policy, low, high in [("gate:density=0.3", 0.2, 0.45), ("gate:ratio=0.1", 0.05, 0.2), ("dense", 1, 1)]:
            done = run("score", "--model", str(MODEL), "--tokens", tokens, "--gates", gates, "--policy", policy, "--json")
            self.assertEqual(done.returncode, 0, done.stderr)
            line = json.loads(done.stdout)
            self.assertEqual(line["policy"], policy)
            self.assertTrue(low <= line["density"] <= high, line["density"])
            self.assertEqual(len(line["layer_density"]), 10)
        done = run("generate", "--model", str(MODEL), "--tokens", tokens, "--gates", gates, "--max-new-tokens", "2")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("policy gate:density=0.1: density 0.", done.stderr)
        done = run("generate", "--model", str(MODEL), "--tokens", tokens, "--gates", gates, "--max-new-tokens", "2",
                   "--min-context", "5000")
        self.assertIn("density 1.0000 (the prompt is shorter than --min-context)", done.stderr)

        done = run("calibrate", "--model", str(MODEL), "--gates", gates, "--text", str(TEXT), "--out",
                   str(self.folder / "again"), "--calibration-lengths", "256,512", "--calibration-tokens", "512", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual({json.loads(line)["length"] for line in done.stdout.splitlines()}, {256, 512})
        self.assertEqual(self.weights("again"), self.weights("gates"))

        other = SOURCE / "tests" / "golden" / "parity" / "llama31"
        done = run("score", "--model", str(other), "--tokens", tokens, "--gates", gates)
        self.assertEqual(done.returncode, 1)
        self.assertIn("hidden_size", done.stderr)

    def test_recipes_and_dry_run(self):
        recipe = self.write(f'model = "{MODEL}"\nout = "{self.folder}/r"\n[training]\nsteps = 7\nlearning_rate = 2e-3\n'
                            'context = 512\nqk_norm = true\n', "recipe.toml")
        done = run("distill", "--recipe", recipe, "--dry-run", "--steps", "9")
        self.assertEqual(done.returncode, 0, done.stderr)
        for words in ("9 of 1 sequences of 512 tokens: 4608 tokens", '"learning_rate":0.002', "memory", "time"):
            self.assertIn(words, done.stdout)
        done = run("distill", "--recipe", recipe, "--dry-run", "--context", "512:6,1024:2", "--replay", "3")
        for words in ("7 of 1 sequences", "updates          28: 3 a step", "replay at most"):
            self.assertIn(words, done.stdout)
        done = run("distill", "--model", str(MODEL), "--out", "x", "--dry-run", "--context", "512:6,1024:2")
        self.assertIn("8 of 1 sequences: 5120 tokens", done.stdout)
        self.assertFalse((self.folder / "r").exists())
        for text, words in [("stepz = 3\n", ["recipe.toml:1", "stepz"]), ("steps = [1\n", ["recipe.toml:"]),
                            ("qk-norm = 3\n", ["true or false"]), ("steps = 2020-01-01\n", ["recipe.toml:1", "steps"])]:
            done = run("distill", "--recipe", self.write(text, "recipe.toml"), "--dry-run")
            self.assertEqual(done.returncode, 1, done.stderr)
            for word in words:
                self.assertIn(word, done.stderr)

    def test_published_recipes_resolve(self):
        for recipe in sorted((SOURCE / "recipes").glob("*.toml")):
            done = run("distill", "--recipe", str(recipe), "--model", str(MODEL), "--device", "cpu", "--context", "4096", "--out",
                       str(self.folder / "x"), "--width", "0", "--dry-run")
            self.assertEqual(done.returncode, 0, f"{recipe}: {done.stderr}")
            self.assertIn("steps", done.stdout)

    def test_bad_input(self):
        out = ["--out", str(self.folder / "x")]
        empty, binary = self.write("", "empty.txt"), str(self.folder / "binary.txt")
        Path(binary).write_bytes(b"ab\0cd")
        self.expect_refused(2, [*SMALL], "--out")
        self.expect_refused(2, out, "--text")
        self.expect_refused(1, [*out, "--text", empty], "empty.txt", "empty")
        self.expect_refused(1, [*out, "--text", binary], "binary.txt", "zero byte")
        self.expect_refused(1, [*out, "--text", "/nowhere"], "/nowhere", "no such file")
        self.expect_refused(2, [*out, *SMALL, "--context", "65536"], "context 65536", "32768")
        self.expect_refused(2, [*out, *SMALL, "--context", "512:3,many"], "512:3,many", "8192:126,16384:14")
        self.expect_refused(2, [*out, *SMALL, "--design", "Qavg3_Kavg"], "Qavg3_Kavg")
        self.expect_refused(2, [*out, *SMALL, "--loss", "l2"], "l2", "smooth-l1")
        self.expect_refused(2, [*out, *SMALL, "--retrieval-share", "2"], "retrieval share 2")
        short = self.write("A few words of text. " * 30, "short.txt")
        self.expect_refused(2, [*out, "--text", short, "--context", "256"], "training text", "fewer")
        self.expect_refused(1, ["--out", "/proc/none/x", *SMALL], "/proc/none")


if __name__ == "__main__":
    unittest.main()
