"""Published adapters as torch.save writes them, through `seer gates`, and back through torch.load."""

import json
import os
import subprocess
import zipfile
from pathlib import Path

import pytest
import torch

PROGRAM = os.environ.get("SEER_PROGRAM")
pytestmark = pytest.mark.skipif(not PROGRAM, reason="SEER_PROGRAM names no program")

HEADS, KV_HEADS, HEAD_DIM, LAYERS = 6, 2, 64, 2
BASE = {
    "model_type": "llama", "vocab_size": 512, "hidden_size": HEADS * HEAD_DIM, "intermediate_size": 512,
    "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS,
    "max_position_embeddings": 4096, "rope_theta": 500000.0,
}
QWEN3 = {**BASE, "model_type": "qwen3", "head_dim": HEAD_DIM}


def prefix(layer):
    return f"model.layers.{layer}.self_attn.attn_gate."


def prefill(dtype=torch.bfloat16, double=False):
    heads = KV_HEADS if double else HEADS
    tensors = {}
    for layer in range(LAYERS):
        tensors[prefix(layer) + "mask_linear_k.weight"] = torch.randn(heads, 3 * HEAD_DIM, HEAD_DIM).to(dtype)
        if double:
            tensors[prefix(layer) + "mask_linear_q.weight"] = torch.randn(HEADS, HEAD_DIM, HEAD_DIM).to(dtype)
    return tensors


def decode():
    tensors = {}
    for layer in range(LAYERS):
        tensors[prefix(layer) + "attngate_linear_q.weight"] = torch.randn(KV_HEADS, 3, HEAD_DIM, HEAD_DIM).bfloat16()
        tensors[prefix(layer) + "attngate_linear_k.weight"] = torch.randn(KV_HEADS, 3 * HEAD_DIM, HEAD_DIM).bfloat16()
        tensors[prefix(layer) + "attngate_qnorm.weight"] = torch.randn(HEAD_DIM).bfloat16()
        tensors[prefix(layer) + "attngate_knorm.weight"] = torch.randn(HEAD_DIM).bfloat16()
    return tensors


def write_published(folder, base, tensors, **settings):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({**base, "base_model": "org/base", **settings}))
    torch.save(tensors, folder / "attn_gate_weights.pth")


def gates(*arguments):
    return subprocess.run([PROGRAM, "gates", *map(str, arguments)], capture_output=True, text=True, check=False)


CASES = {
    "prefill": (BASE, lambda: prefill(), {"seerattn_gate_hidden_size": 64}),
    "prefill-float32": (BASE, lambda: prefill(torch.float32), {"seerattn_gate_hidden_size": 64}),
    "prefill-float16": (BASE, lambda: prefill(torch.float16), {"seerattn_gate_hidden_size": 64}),
    "prefill-double": ({**BASE, "model_type": "qwen2"}, lambda: prefill(double=True),
                       {"seerattn_gate_hidden_size": 64, "seerattn_gate_force_double": True}),
    "decode": (QWEN3, decode, {"seerattn_gate_hidden_size": 64, "seerattn_use_qk_norm": True}),
}


@pytest.mark.parametrize("case", CASES)
def test_round_trip(tmp_path, case):
    base, make, settings = CASES[case]
    tensors = make()
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text(json.dumps(base))
    write_published(tmp_path / "published", base, tensors, **settings)
    done = gates("import", tmp_path / "published", "--model", model, "--out", tmp_path / "adapter", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["config"]["kind"] == case.split("-")[0]
    done = gates("export", tmp_path / "adapter", "--out", tmp_path / "back")
    assert done.returncode == 0, done.stderr
    back = torch.load(tmp_path / "back" / "attn_gate_weights.pth", weights_only=True)
    assert back.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert back[name].dtype == tensor.dtype
        assert torch.equal(back[name], tensor), name
    config = json.loads((tmp_path / "back" / "config.json").read_text())
    before = json.loads((tmp_path / "published" / "config.json").read_text())
    assert {key: config[key] for key in before} == before
    assert zipfile.ZipFile(tmp_path / "back" / "attn_gate_weights.pth").testzip() is None


def import_of(tmp_path, tensors, save=torch.save):
    model = tmp_path / "model"
    model.mkdir(exist_ok=True)
    (model / "config.json").write_text(json.dumps(BASE))
    write_published(tmp_path / "published", BASE, {}, seerattn_gate_hidden_size=64)
    save(tensors, tmp_path / "published" / "attn_gate_weights.pth")
    return gates("import", tmp_path / "published", "--model", model, "--out", tmp_path / "adapter")


def test_views_and_state_dicts(tmp_path):
    """Transposed and sliced tensors keep their strides in the file; a module's state_dict is an OrderedDict with a note."""
    whole = torch.randn(2 * HEADS, HEAD_DIM, 3 * HEAD_DIM).bfloat16()
    views = {prefix(layer) + "mask_linear_k.weight": whole[layer * HEADS:(layer + 1) * HEADS].transpose(1, 2)
             for layer in range(LAYERS)}
    module = torch.nn.Module()
    state = module.state_dict()
    state.update(views)
    done = import_of(tmp_path, state)
    assert done.returncode == 0, done.stderr
    from_file = gates("export", tmp_path / "adapter", "--out", tmp_path / "back")
    assert from_file.returncode == 0, from_file.stderr
    back = torch.load(tmp_path / "back" / "attn_gate_weights.pth", weights_only=True)
    for name, tensor in views.items():
        assert torch.equal(back[name], tensor), name


class Harm:
    def __reduce__(self):
        return os.system, ("echo harm > harm.txt",)


@pytest.mark.parametrize(
    ("tensors", "word"),
    [
        ({"a": Harm()}, "system"),
        ({"a": torch.zeros(2, dtype=torch.float64)}, "DoubleStorage"),
        ({"a": torch.nn.Parameter(torch.zeros(2))}, "_rebuild_parameter"),
        ({"a": 1}, "no tensor"),
        ([torch.zeros(2)], "EMPTY_LIST"),
    ],
)
def test_other_objects_are_refused(tmp_path, tensors, word):
    done = import_of(tmp_path, tensors)
    assert done.returncode == 1
    assert word in done.stderr
    assert not (tmp_path / "adapter").exists()
    assert not Path("harm.txt").exists()


def test_older_format_is_refused(tmp_path):
    done = import_of(tmp_path, prefill(),
                     lambda tensors, path: torch.save(tensors, path, _use_new_zipfile_serialization=False))
    assert done.returncode == 1
    assert "older format" in done.stderr
