"""`seer finetune` on a tiny random model: kill and resume, what it writes, recipes, what it refuses."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
import unittest
from pathlib import Path

from program import PROGRAM, ModelVerbTest, run

SOURCE = Path(os.environ["SEER_SOURCE_DIR"])
BUNDLED = SOURCE / "models" / "books-19m-32k"
SMALL = ["--context", "128", "--steps", "8", "--warmup-steps", "2", "--learning-rate", "1e-3", "--checkpoint-interval",
         "2", "--eval-interval", "4", "--eval-sequences", "1", "--policy", "gate:ratio=0.5", "--block-size", "16"]


class FinetuneTest(ModelVerbTest):
    verb = "finetune"

    def setUp(self):
        super().setUp()
        # The parity models have no tokenizer; of the bundled one's, only that there is one matters for token files.
        self.model = self.folder / "tiny"
        shutil.copytree(SOURCE / "tests" / "golden" / "parity" / "qwen3", self.model)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(BUNDLED / name, self.model)
        draw = random.Random(1)
        self.text = ["--text", self.write([draw.randrange(3, 512) for _ in range(4000)], "train.json"),
                     "--held-out", self.write([draw.randrange(3, 512) for _ in range(1200)], "valid.json")]

    def finetune(self, name, *arguments):
        done = self.call("--out", str(self.folder / name), *self.text, *SMALL, *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def files(self, name):
        out = self.folder / name
        return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}

    def log(self, name):
        return [json.loads(line) for line in (self.folder / f"{name}.log.jsonl").read_text().splitlines()]

    def test_killed_and_resumed_training_ends_with_the_same_bits(self):
        self.finetune("whole")
        lines = self.log("whole")
        self.assertEqual([line["step"] for line in lines], list(range(1, 9)))
        self.assertEqual([line["step"] for line in lines if "held_out_loss" in line], [4, 8])
        out = self.folder / "part"
        arguments = ["--out", str(out), *self.text, *SMALL]
        process = subprocess.Popen([PROGRAM, "finetune", "--model", str(self.model), *arguments],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        state = Path(str(out) + ".checkpoint") / "training.json"
        while not (state.exists() and json.loads(state.read_text())["step"] > 0):
            self.assertIsNone(process.poll(), "ended before its first checkpoint")
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        self.assertFalse(out.exists())
        abandoned = Path(str(out) + ".checkpoint.part-1")  # as of a process that was killed while it wrote
        abandoned.mkdir()
        (abandoned / "tensors.safetensors").write_bytes(b"half")
        self.expect_refused(1, arguments, "--resume", "checkpoint")
        self.expect_refused(1, [*arguments, "--resume", "--learning-rate", "1"], "settings")
        self.finetune("part", "--resume")
        whole, part = self.files("whole"), self.files("part")
        # The base model of the gates has the folder's name.
        self.assertEqual(whole.pop("gates/gate_config.json").replace(b"whole", b"part"),
                         part.pop("gates/gate_config.json"))
        self.assertEqual(whole, part)
        self.assertEqual([line["loss"] for line in self.log("part")], [line["loss"] for line in lines])
        self.assertFalse(state.exists())
        self.assertEqual(list(self.folder.glob("*.part-*")), [])
        self.expect_refused(1, ["--out", str(out), *self.text, *SMALL], "part: holds ", "a new folder or an empty one")

    def test_interrupted_training_keeps_its_steps(self):
        out = self.folder / "stopped"
        process = subprocess.Popen([PROGRAM, "finetune", "--model", str(self.model), "--out", str(out), *self.text, *SMALL,
                                    "--steps", "100000"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        log = Path(str(out) + ".log.jsonl")
        while not (log.exists() and log.read_text()):
            self.assertIsNone(process.poll())
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
        self.assertEqual(process.returncode, 130, errors)
        self.assertIn("--resume", errors)
        self.assertGreaterEqual(json.loads((Path(str(out) + ".checkpoint") / "training.json").read_text())["step"], 1)

    def test_longer_context_serves_the_other_verbs(self):
        self.finetune("out", "--rope-scaling", "yarn:4", "--context", "1100", "--steps", "2")
        out = self.folder / "out"
        config = json.loads((out / "config.json").read_text())
        before = json.loads((self.model / "config.json").read_text())
        self.assertEqual(config["max_position_embeddings"], 4 * before["max_position_embeddings"])
        self.assertEqual(config["rope_parameters"]["rope_type"], "yarn")
        self.assertEqual(config["vocab_size"], before["vocab_size"])
        self.assertEqual((out / "tokenizer.json").read_bytes(), (BUNDLED / "tokenizer.json").read_bytes())
        self.assertEqual(sorted(path.name for path in (out / "gates").iterdir()), ["gate_config.json", "gates.safetensors"])
        tokens = self.write([random.Random(2).randrange(3, 512) for _ in range(1500)])
        done = run("score", "--model", str(out), "--tokens", tokens, "--gates", str(out / "gates"), "--policy",
                   "gate:ratio=0.5", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertLess(json.loads(done.stdout)["density"], 0.6)
        # Gates of the model before and after go on; those of the model before need no others' positions.
        self.finetune("again", "--gates", str(out / "gates"), "--rope-scaling", "yarn:4", "--freeze-gates", "--steps", "1")
        self.assertEqual((self.folder / "again/gates/gates.safetensors").read_bytes(),
                         (out / "gates/gates.safetensors").read_bytes())

    def test_dense_and_recompute(self):
        self.finetune("dense", "--policy", "dense")
        self.assertFalse((self.folder / "dense" / "gates").exists())
        self.finetune("kept", "--policy", "dense", "--no-recompute")
        self.assertEqual(self.files("dense"), self.files("kept"))
        self.finetune("bfloat16", "--policy", "dense", "--dtype", "bfloat16")
        self.assertIn("bfloat16", (self.folder / "bfloat16" / "config.json").read_text())

    def test_recipe_and_dry_run(self):
        recipe = self.write(f'model = "{self.model}"\nout = "{self.folder}/r"\nrope_scaling = "yarn:4"\nsteps = 7\n'
                            'gradient_accumulation = 3\npolicy = "gate:ratio=0.25"\n', "recipe.toml")
        done = run("finetune", "--recipe", recipe, "--dry-run", "--context", "512")
        self.assertEqual(done.returncode, 0, done.stderr)
        for words in ("7 of 3 sequences of 512 tokens: 10752 tokens", "gate:ratio=0.25", "learning beside", "memory", "time"):
            self.assertIn(words, done.stdout)
        # New gates learn in every step, trained ones less: the flags say otherwise.
        self.assertIn('"gate_interval":1,"gate_learning_rate":0.001', done.stdout)
        self.finetune("new", "--steps", "0")
        trained = ["--gates", str(self.folder / "new/gates"), "--recipe", recipe, "--dry-run"]
        done = run("finetune", *trained)
        self.assertIn('"gate_interval":8,"gate_learning_rate":0.0001', done.stdout)
        done = run("finetune", *trained, "--gate-interval", "3", "--gate-learning-rate", "0.5")
        self.assertIn('"gate_interval":3,"gate_learning_rate":0.5', done.stdout)
        self.assertFalse((self.folder / "r").exists())
        published = SOURCE / "recipes" / "finetune" / "llama-3-8b-32k.toml"
        done = run("finetune", "--recipe", str(published), "--model", str(self.model), "--device", "cpu", "--dtype", "float32",
                   "--gates", "", "--context", "512", "--out", "x", "--dry-run")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn('"steps":400', done.stdout)

    def test_bad_input(self):
        out = ["--out", str(self.folder / "x")]
        small = [*self.text, *SMALL]
        self.expect_refused(2, small, "--out")
        self.expect_refused(2, [*out, *SMALL], "--text")
        self.expect_refused(2, [*out, *small, "--rope-scaling", "ntk:4"], "ntk:4", "yarn:4")
        self.expect_refused(2, [*out, *small, "--context", "100000"], "--context 100000", "--rope-scaling")
        self.expect_refused(2, [*out, *small, "--rope-scaling", "yarn:4", "--context", "2000"], "--held-out", "fewer")
        self.expect_refused(2, [*out, *small, "--freeze-gates"], "--freeze-gates", "--gates")
        self.expect_refused(2, [*out, *small, "--policy", "dense", "--gates", "g"], "--gates", "gate:ratio=0.5")
        self.expect_refused(2, [*out, *small, "--policy", "gate:ratio=2"], "ratio")
        self.expect_refused(2, [*out, *small, "--schedule", "step"], "step", "cosine")
        self.expect_refused(2, [*out, *small, "--gate-loss", "l2"], "l2")
        self.expect_refused(2, [*out, *small, "--learning-rate", "0"], "learning rate")
        self.expect_refused(2, [*out, *small, "--gate-interval", "0"], "gate interval", "1 or more", "0")
        self.expect_refused(2, [*out, *small, "--gate-interval", "x"], "--gate-interval", "integer")
        self.expect_refused(2, [*out, *small, "--steps", "many"], "many")
        self.expect_refused(1, [*out, *small, "--gates", "/nowhere"], "/nowhere")
        self.expect_refused(1, ["--out", "/proc/none/x", *small], "/proc/none")
        self.expect_refused(1, [*out, *small, "--log", "/proc/none/x/log"], "/proc/none/x/log: the log cannot be written", "--log")
        short = self.write([5] * 50, "short.json")
        self.expect_refused(2, [*out, "--text", short, *SMALL], "training text", "fewer")
        full = self.folder / "full"
        full.mkdir()
        (full / "notes.txt").write_text("mine")
        self.expect_refused(1, ["--out", str(full), *small], "notes.txt")
        self.expect_refused(1, [*out, *small], "no such folder", model="/nowhere")
        if run("doctor").stdout.find("H100") < 0:
            self.expect_refused(1, [*out, *small, "--device", "cuda"], "cuda")


if __name__ == "__main__":
    unittest.main()
