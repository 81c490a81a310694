"""Tiny random models of each family, made by transformers: its logits against those of `seer score`."""

import json
import os
import random
import subprocess
from pathlib import Path

import pytest
import torch

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("SEER_PROGRAM") or str(REPOSITORY / "build" / "seer")
VOCAB = 131

YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 64}
SIZES = {"vocab_size": VOCAB, "hidden_size": 72, "intermediate_size": 100, "num_hidden_layers": 2,
         "num_attention_heads": 6, "num_key_value_heads": 2, "max_position_embeddings": 256}

# name -> (configuration class, its settings besides SIZES, rope settings)
CASES = {
    "llama": ("LlamaConfig", {"head_dim": 12}, {}),
    "llama, one key head": ("LlamaConfig", {"num_key_value_heads": 1, "head_dim": 16}, {}),
    "llama, seven heads": ("LlamaConfig", {"hidden_size": 70, "num_attention_heads": 7, "num_key_value_heads": 7, "head_dim": 10}, {}),
    "llama, biases": ("LlamaConfig", {"attention_bias": True, "mlp_bias": True, "head_dim": 20}, {}),
    "llama, tied": ("LlamaConfig", {"tie_word_embeddings": True}, {"rope_theta": 500.0}),
    "llama, large eps": ("LlamaConfig", {"rms_norm_eps": 1e-2}, {}),
    "llama, linear": ("LlamaConfig", {}, {"rope_type": "linear", "factor": 2.5}),
    "llama, llama3": ("LlamaConfig", {"head_dim": 32}, LLAMA3),
    "llama, yarn": ("LlamaConfig", {"head_dim": 32}, YARN),
    "llama, yarn attention factor": ("LlamaConfig", {"head_dim": 24}, {**YARN, "attention_factor": 1.4}),
    "llama, yarn mscale": ("LlamaConfig", {"head_dim": 24}, {**YARN, "mscale": 1.2, "mscale_all_dim": 0.7}),
    "llama, yarn not truncated": ("LlamaConfig", {"head_dim": 48},
                                  {**YARN, "truncate": False, "beta_fast": 16.0, "beta_slow": 2.0}),
    "mistral": ("MistralConfig", {"sliding_window": None, "head_dim": 16}, {}),
    "qwen2": ("Qwen2Config", {}, {"rope_theta": 1e6}),
    "qwen2, tied, yarn": ("Qwen2Config", {"tie_word_embeddings": True}, YARN),
    "qwen3": ("Qwen3Config", {"head_dim": 28}, {"rope_theta": 1e6}),
    "qwen3, eight to one, yarn": ("Qwen3Config", {"num_attention_heads": 8, "num_key_value_heads": 1,
                                                  "head_dim": 64}, YARN),
    "qwen3, attention bias": ("Qwen3Config", {"attention_bias": True, "head_dim": 18}, {}),
}


def make_model(folder, config_class, settings, rope):
    rope = {"rope_type": "default", "rope_theta": 10000.0, **rope}
    config = getattr(transformers, config_class)(**{**SIZES, **settings}, rope_parameters=rope)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32,
                                                          attn_implementation="eager").eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Large enough that attention is far from uniform and a wrong bias or norm shows.
            if "norm" in name:
                parameter.uniform_(0.5, 1.5)
            elif parameter.dim() == 1:
                parameter.normal_(std=0.5)
            else:
                parameter.normal_(std=0.12)
    model.save_pretrained(folder)
    return model


def seer_scores(folder, tokens, positions, *flags):
    file = Path(folder) / "tokens.json"
    file.write_text(json.dumps(tokens))
    done = subprocess.run([PROGRAM, "score", "--model", str(folder), "--tokens", str(file), "--positions",
                           ",".join(map(str, positions)), "--json", *flags],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check(scores, logits, tokens, tolerance):
    for position, score in scores["positions"].items():
        row = logits[int(position)]
        top = row.topk(6).values
        for rank, (token, logit) in enumerate(zip(score["top5"], score["top5_logits"], strict=True)):
            assert abs(row[token].item() - logit) < tolerance
            if (rank == 0 or top[rank - 1] - top[rank] > 1e-3) and top[rank] - top[rank + 1] > 1e-3:
                assert token == row.topk(6).indices[rank].item()
        assert torch.tensor(score["first8_logits"]).sub(row[:8]).abs().max() < tolerance
        assert abs(score["logsumexp"] - row.logsumexp(0).item()) < tolerance
    nll = torch.nn.functional.cross_entropy(logits[:-1].double(), torch.tensor(tokens[1:])).item()
    assert abs(scores["nll_mean"] / nll - 1) < 1e-5


@pytest.mark.parametrize("name", CASES)
def test_logits(name, tmp_path):
    model = make_model(tmp_path, *CASES[name])
    tokens = torch.randint(VOCAB, (200,)).tolist()
    with torch.no_grad():
        logits = model(torch.tensor([tokens])).logits[0]
    for flags in ([], ["--prefill-chunk", "37"], ["--attention", "sdpa", "--prefill-chunk", "90"]):
        check(seer_scores(tmp_path, tokens, [0, 1, 63, 64, 130, 199], *flags), logits, tokens, 2e-4)


def random_case(seed):
    """A configuration of any family; as CASES."""
    draw = random.Random(seed)
    family = draw.choice(["Llama", "Mistral", "Qwen2", "Qwen3"])
    kv_heads = draw.choice([1, 2, 3, 5])
    heads = kv_heads * draw.choice([1, 2, 3, 4, 7])
    head_dim = 2 * draw.randint(3, 40)
    settings = {"num_attention_heads": heads, "num_key_value_heads": kv_heads, "head_dim": head_dim,
                "hidden_size": draw.randint(33, 160), "intermediate_size": draw.randint(20, 300),
                "num_hidden_layers": draw.randint(1, 4), "tie_word_embeddings": draw.random() < 0.5,
                "rms_norm_eps": draw.choice([1e-6, 1e-5, 1e-3]), "initializer_range": 0.02}
    if family == "Qwen2":  # its heads fill the width
        settings["hidden_size"] = heads * head_dim
        del settings["head_dim"]
    if family == "Mistral":
        settings["sliding_window"] = None
    if family == "Llama":  # transformers wants the width to be a multiple of the heads
        settings["hidden_size"] = heads * draw.randint(3, 20)
    if family in ("Llama", "Qwen3"):
        settings["attention_bias"] = draw.random() < 0.5
    if family == "Llama":
        settings["mlp_bias"] = draw.random() < 0.5
    original = draw.choice([32, 64, 100])
    rope = draw.choice([
        {},
        {"rope_type": "linear", "factor": draw.uniform(1, 8)},
        {"rope_type": "llama3", "factor": draw.uniform(2, 32), "low_freq_factor": draw.uniform(0.5, 2),
         "high_freq_factor": draw.uniform(3, 6), "original_max_position_embeddings": original},
        {"rope_type": "yarn", "factor": draw.uniform(1.5, 8), "beta_fast": draw.uniform(8, 48),
         "beta_slow": draw.uniform(0.5, 2), "truncate": draw.random() < 0.5,
         "original_max_position_embeddings": original},
    ])
    return f"{family}Config", settings, {"rope_theta": draw.choice([100.0, 1e4, 5e5, 1e6]), **rope}


@pytest.mark.parametrize("seed", range(12))
def test_random_configurations(seed, tmp_path):
    torch.manual_seed(seed)
    case = random_case(seed)
    print(case)  # shown where the test fails
    model = make_model(tmp_path, *case)
    tokens = torch.randint(VOCAB, (200,)).tolist()
    with torch.no_grad():
        logits = model(torch.tensor([tokens])).logits[0]
    check(seer_scores(tmp_path, tokens, [0, 1, 63, 64, 130, 199], "--prefill-chunk", "77"), logits, tokens, 2e-4)


def test_bundled_model(tmp_path):
    folder = REPOSITORY / "models" / "books-19m-32k"
    tokens = json.loads((folder / "reference.json").read_text())["input_ids"]
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32,
                                                              attn_implementation="eager")
    with torch.no_grad():
        logits = model(torch.tensor([tokens])).logits[0]
    file = tmp_path / "tokens.json"
    file.write_text(json.dumps(tokens))
    done = subprocess.run([PROGRAM, "score", "--model", str(folder), "--tokens", str(file), "--positions",
                           ",".join(map(str, range(0, len(tokens), 9))), "--json"],
                          capture_output=True, text=True, check=True)
    check(json.loads(done.stdout), logits, tokens, 2e-4)
