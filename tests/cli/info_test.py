#!/usr/bin/env python3
"""seer info: a good folder, and folders as a newcomer may have them."""

import json
import os
import shutil
import tempfile
import unittest
from pathlib import Path

from program import run

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "books-19m-32k"


class Info(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name) / "model"
        shutil.copytree(MODEL, self.folder)

    def expect_failed(self, words, *arguments, code=1):
        done = run("info", "--model", str(self.folder), *arguments)
        self.assertEqual(done.returncode, code, done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)
        return done

    def edit_config(self, **changes):
        config = json.loads((self.folder / "config.json").read_text())
        (self.folder / "config.json").write_text(json.dumps({**config, **changes}))

    def test_text(self):
        done = run("info", "--model", str(MODEL), "--context", "4096")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stderr, "")
        for word in ["llama", "6 query heads, 2 key/value heads", "18.9 million", "92 BF16", "4096 tokens", "total"]:
            self.assertIn(word, done.stdout)

    def test_json(self):
        done = run("info", "-m", str(MODEL), "--context", "4096", "--batch", "2", "--dtype", "bfloat16", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout.count("\n"), 1)
        info = json.loads(done.stdout)
        self.assertEqual(info["parameters"]["total"], 18882432)
        self.assertEqual(info["memory"]["weights"], 37764864)
        self.assertEqual(info["memory"]["cache"], 2 * 4096 * 10 * 2 * 2 * 64 * 2)
        self.assertEqual(info["problems"], [])
        self.assertEqual(info["memory"]["total"], sum(v for k, v in info["memory"].items() if k != "total"))

    def test_bad_folder(self):
        done = run("info", "--model", str(self.folder / "none"))
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn('none": no such folder', done.stderr)
        done = run("info", "--model", str(self.folder / "config.json"))
        self.assertEqual(done.returncode, 1)
        self.assertIn('config.json" is no folder', done.stderr)
        (self.folder / "config.json").unlink()
        self.expect_failed(["has no config.json"])

    def test_missing_shard(self):
        (self.folder / "model-00002-of-00003.safetensors").unlink()
        done = self.expect_failed(["model-00002-of-00003.safetensors", "1 of 3"])
        self.assertIn("memory for", done.stdout)  # what the configuration says is still of use

    def test_no_weights(self):
        for file in self.folder.glob("model*"):
            file.unlink()
        self.expect_failed(["no weights", "model.safetensors"])

    def test_truncated_shard(self):
        os.truncate(self.folder / "model-00003-of-00003.safetensors", 5000000)
        self.expect_failed(["model-00003-of-00003.safetensors", "truncated"])

    def test_unreadable_file(self):
        if os.geteuid() == 0:
            # Root may read everything but a folder.
            (self.folder / "config.json").unlink()
            (self.folder / "config.json").mkdir()
            self.expect_failed(["config.json", "not a regular file"])
            return
        (self.folder / "config.json").chmod(0)
        self.expect_failed(["config.json", "permission"])

    def test_wrong_dtype(self):
        self.expect_failed(["dtype", "float32 or bfloat16", "float8"], "--dtype", "float8", code=2)
        self.edit_config(torch_dtype="int8")
        self.expect_failed(["torch_dtype", "int8", "bfloat16"])

    def test_unsupported_model(self):
        self.edit_config(model_type="gemma2")
        self.expect_failed(["config.json", "model_type", "gemma2", "llama, mistral, qwen2, qwen3"])

    def test_tensors_that_do_not_fit(self):
        self.edit_config(num_hidden_layers=11)
        self.expect_failed(["missing", "model.layers.10."])
        self.edit_config(num_hidden_layers=9)
        self.expect_failed(["unexpected", "model.layers.9."])

    def test_path_in_index(self):
        index = json.loads((self.folder / "model.safetensors.index.json").read_text())
        index["weight_map"]["model.norm.weight"] = "../../etc/model.safetensors"
        (self.folder / "model.safetensors.index.json").write_text(json.dumps(index))
        self.expect_failed(["model.safetensors.index.json", "model.norm.weight", "slashes"])

    def test_wrong_usage(self):
        done = run("info")
        self.assertEqual(done.returncode, 2)
        self.assertIn("--model", done.stderr)
        for flag in ["--context", "--batch", "--prefill-chunk"]:
            self.expect_failed(["0"], flag, "0", code=2)
            self.expect_failed(["many"], flag, "many", code=2)


if __name__ == "__main__":
    unittest.main()
