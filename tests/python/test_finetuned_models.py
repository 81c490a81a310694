"""What `seer finetune` writes, loaded by transformers: the same logits, and the loss of its first step."""

import json
import subprocess

import pytest
import torch

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

from test_transformers_parity import PROGRAM, VOCAB, check, make_model, seer_scores  # noqa: E402

MODELS = {
    "llama": ("LlamaConfig", {"head_dim": 12, "tie_word_embeddings": True, "bos_token_id": 0}, {}),
    "qwen2": ("Qwen2Config", {"bos_token_id": 0}, {"rope_theta": 1e6}),
    "qwen3": ("Qwen3Config", {"head_dim": 28, "bos_token_id": 0}, {}),
}


def finetune(folder, out, tokens, *flags):
    """One step on these tokens, with a tokenizer that is never asked."""
    vocabulary = {chr(0x100 + i): i for i in range(VOCAB)}
    (folder / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "added_tokens": [], "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "post_processor": None, "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []}}))
    text = folder / "text.json"
    text.write_text(json.dumps(tokens))
    done = subprocess.run([PROGRAM, "finetune", "--model", str(folder), "--text", str(text), "--out", str(out),
                           "--steps", "3", "--warmup-steps", "0", "--learning-rate", "1e-3", "--json", *flags],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def first_sequence(tokens, context):
    """Of a text that is hardly longer: the begin-of-text token in front of a window of it."""
    return torch.tensor([[0] + tokens[:context - 1]])


@pytest.mark.parametrize("scaling", ["", "yarn:2", "linear:2", "llama3:2"])
@pytest.mark.parametrize("name", MODELS)
def test_trained_model_in_transformers(name, scaling, tmp_path):
    torch.manual_seed(1)
    model_folder, out = tmp_path / "model", tmp_path / "out"
    model_folder.mkdir()
    model = make_model(model_folder, *MODELS[name])
    context = 200
    tokens = [0] + torch.randint(1, VOCAB, (context,)).tolist()
    flags = ["--context", str(context), "--policy", "dense"] + (["--rope-scaling", scaling] if scaling else [])
    steps = finetune(model_folder, out, tokens, *flags)
    if not scaling:
        with torch.no_grad():
            ids = first_sequence(tokens, context)
            loss = model(ids, labels=ids).loss.item()
        assert abs(steps[0]["loss"] / loss - 1) < 1e-5
    trained = transformers.AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32, attn_implementation="eager")
    assert trained.config.max_position_embeddings == (512 if scaling else 256)
    longer = torch.randint(VOCAB, (400 if scaling else 200,)).tolist()
    with torch.no_grad():
        logits = trained(torch.tensor([longer])).logits[0]
    check(seer_scores(out, longer, [0, 1, 63, 64, 130, len(longer) - 1]), logits, longer, 3e-4)
    assert (out / "tokenizer.json").read_bytes() == (model_folder / "tokenizer.json").read_bytes()


def test_gradients_are_those_of_transformers(tmp_path):
    """The weights after three steps are those of torch's AdamW on transformers' gradients."""
    torch.manual_seed(2)
    model_folder, out = tmp_path / "model", tmp_path / "out"
    model_folder.mkdir()
    model = make_model(model_folder, *MODELS["qwen3"])
    context = 200
    tokens = [0] + torch.randint(1, VOCAB, (context,)).tolist()
    steps = finetune(model_folder, out, tokens, "--context", str(context), "--policy", "dense", "--clip-norm", "0.5")
    ids = first_sequence(tokens, context)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0)
    for step in steps:
        optimizer.zero_grad()
        loss = model(ids, labels=ids).loss
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        for group in optimizer.param_groups:
            group["lr"] = step["lr"]
        optimizer.step()
        assert abs(step["loss"] / loss.item() - 1) < 1e-4
        assert abs(step["gradient_norm"] / norm.item() - 1) < 1e-3
    trained = transformers.AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32)
    for (name, ours), theirs in zip(trained.named_parameters(), model.parameters(), strict=True):
        # Where a gradient is next to nothing AdamW's first steps take its sign, which rounding may turn.
        far = (ours - theirs).abs() > 2e-5
        assert far.float().mean() < 0.01, name
