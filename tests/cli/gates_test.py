#!/usr/bin/env python3
"""seer gates: published adapters in and out, and what is said about files that are none."""

import json
import shutil
import struct
import sys
import tempfile
import unittest
from pathlib import Path

from program import run

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "books-19m-32k"
sys.path.insert(0, str(ROOT / "scripts"))
import make_adapter_corpus as published  # noqa: E402  (writes the bytes of torch.save files by hand)

LAYERS, HEADS, HEAD_DIM = 10, 6, 64


def name_of(layer, tensor="mask_linear_k"):
    return f"model.layers.{layer}.self_attn.attn_gate.{tensor}.weight"


def weights(layers=range(LAYERS), kinds=3, value=0x3F80):
    """A .pth of bfloat16 gates; every weight is `value` plus its layer."""
    count = HEADS * HEAD_DIM * kinds * HEAD_DIM
    items, records = [], []
    for layer in layers:
        stored = published.storage(b"torch\nBFloat16Storage", str(layer).encode(), count)
        shape = (HEADS, HEAD_DIM * kinds, HEAD_DIM)
        strides = (HEAD_DIM * kinds * HEAD_DIM, HEAD_DIM, 1)
        items += [published.text(name_of(layer).encode()), published.tensor(stored, 0, shape, strides)]
        records.append((f"archive/data/{layer}", struct.pack("<H", value + layer) * count))
    return published.archive([("archive/data.pkl", published.pickle(*items)), *records])


class Gates(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)
        self.published = self.folder / "published"
        self.adapter = self.folder / "adapter"
        self.published.mkdir()
        self.write_config()
        (self.published / "attn_gate_weights.pth").write_bytes(weights())

    def write_config(self, **changes):
        config = json.loads((MODEL / "config.json").read_text())
        config.update({"base_model": "org/books", "seerattn_gate_hidden_size": HEAD_DIM,
                       "seerattn_gate_type": "Qavg_Kmaxminavg", **changes})
        (self.published / "config.json").write_text(json.dumps(config))

    def do_import(self, *more):
        return run("gates", "import", str(self.published), "--model", str(MODEL), "--out", str(self.adapter), *more)

    def expect_refused(self, done, *words, code=1):
        self.assertEqual(done.returncode, code, done.stdout)
        self.assertEqual(done.stdout, "")
        for word in words:
            self.assertIn(word, done.stderr)
        self.assertFalse(list(self.folder.glob("*.part-*")))

    def test_import_info_export(self):
        done = self.do_import("--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        info = json.loads(done.stdout)
        self.assertEqual(info["config"]["design"], "Qavg_Kmaxminavg")
        self.assertEqual(info["config"]["base_model"]["name"], "org/books")
        self.assertEqual((info["layers"], info["parameters"]), (LAYERS, LAYERS * HEADS * 192 * 64))
        self.assertEqual(info["tensors"][0], {"name": name_of(0), "dtype": "BF16", "shape": [6, 192, 64]})

        done = run("gates", "info", str(self.adapter))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for word in ["prefill, Qavg_Kmaxminavg", "blocks of 64", "org/books", "10 tensors in 10 layers", "BF16",
                     "calibration  none"]:
            self.assertIn(word, done.stdout)
        self.assertEqual(run("gates", "info", str(self.adapter), "--model", str(MODEL)).returncode, 0)
        self.assertEqual(json.loads(run("gates", "info", str(self.adapter), "--json").stdout), info)

        out = self.folder / "exported"
        done = run("gates", "export", str(self.adapter), "--out", str(out))
        self.assertEqual((done.returncode, done.stdout), (0, f"{out}\n"), done.stderr)
        again = self.folder / "again"
        done = run("gates", "import", str(out), "--model", str(MODEL), "--out", str(again))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual((again / "gates.safetensors").read_bytes(), (self.adapter / "gates.safetensors").read_bytes())

    def test_malicious(self):
        pickle = published.PICKLE["os-system"]
        (self.published / "attn_gate_weights.pth").write_bytes(published.archive(published.entries(pickle)))
        self.expect_refused(self.do_import(), "attn_gate_weights.pth", "os.system", "nothing of the file is run")
        self.assertFalse(self.adapter.exists())

    def test_what_does_not_fit(self):
        (self.published / "attn_gate_weights.pth").write_bytes(weights(range(9)))
        self.expect_refused(self.do_import(), "missing", name_of(9))
        (self.published / "attn_gate_weights.pth").write_bytes(weights(kinds=2))
        self.expect_refused(self.do_import(), name_of(0), "[6, 192, 64]", "[6, 128, 64]")
        (self.published / "attn_gate_weights.pth").write_bytes(weights(value=0x7F80))
        self.expect_refused(self.do_import(), name_of(0), "not finite")
        (self.published / "attn_gate_weights.pth").write_bytes(b"")
        self.expect_refused(self.do_import(), "attn_gate_weights.pth")
        (self.published / "attn_gate_weights.pth").unlink()
        self.expect_refused(self.do_import(), "attn_gate_weights.pth: no such file")
        self.write_config(num_hidden_layers=9)
        (self.published / "attn_gate_weights.pth").write_bytes(weights())
        self.expect_refused(self.do_import(), "config.json", "num_hidden_layers is 9", "10")

    def test_another_model(self):
        self.assertEqual(self.do_import().returncode, 0)
        other = self.folder / "other"
        other.mkdir()
        config = json.loads((MODEL / "config.json").read_text())
        (other / "config.json").write_text(json.dumps({**config, "rope_theta": 10000.0, "vocab_size": 512}))
        done = run("gates", "info", str(self.adapter), "--model", str(other))
        self.expect_refused(done, "gate_config.json", "rope.theta: the gates need 500000.0, the model has 10000.0",
                            "vocab_size: the gates need 8192, the model has 512")

    def test_folders(self):
        self.expect_refused(run("gates", "info", str(self.folder / "none")), "gate_config.json: no such file")
        self.adapter.mkdir()
        (self.adapter / "notes.txt").write_text("mine")
        self.expect_refused(self.do_import(), "notes.txt")
        self.assertEqual((self.adapter / "notes.txt").read_text(), "mine")
        shutil.rmtree(self.adapter)
        self.assertEqual(self.do_import().returncode, 0)
        self.expect_refused(run("gates", "export", str(self.adapter), "--out", str(self.adapter)),
                            "adapter: holds gate", "would be lost")
        edited = json.loads((self.adapter / "gate_config.json").read_text())
        del edited["published"]
        (self.adapter / "gate_config.json").write_text(json.dumps(edited))
        out = str(self.folder / "out")
        self.expect_refused(run("gates", "export", str(self.adapter), "--out", out), "--model")
        self.assertEqual(run("gates", "export", str(self.adapter), "--out", out, "--model", str(MODEL)).returncode, 0)

    def test_usage(self):
        self.expect_refused(run("gates"), "info, import, export", code=2)
        self.expect_refused(run("gates", "import", str(self.published)), "--model", code=2)
        self.expect_refused(run("gates", "info"), "folder", code=2)


if __name__ == "__main__":
    unittest.main()
