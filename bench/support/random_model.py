"""Writes model folders of any size with random weights; needs nothing but Python."""

import json
import random
import struct
from pathlib import Path

VALUES = 1 << 16  # different ones; they repeat through each file
PIECE = 1 << 22  # bytes that are written at once, more or less


def tensor_shapes(shape):
    """The tensors of an untied Llama model, in the order of its layers."""
    hidden, inter = shape["hidden_size"], shape["intermediate_size"]
    q_width = shape["num_attention_heads"] * shape["head_dim"]
    kv_width = shape["num_key_value_heads"] * shape["head_dim"]
    tensors = {"model.embed_tokens.weight": (shape["vocab_size"], hidden)}
    for layer in range(shape["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        tensors |= {prefix + "input_layernorm.weight": (hidden,),
                    prefix + "self_attn.q_proj.weight": (q_width, hidden),
                    prefix + "self_attn.k_proj.weight": (kv_width, hidden),
                    prefix + "self_attn.v_proj.weight": (kv_width, hidden),
                    prefix + "self_attn.o_proj.weight": (hidden, q_width),
                    prefix + "post_attention_layernorm.weight": (hidden,),
                    prefix + "mlp.gate_proj.weight": (inter, hidden),
                    prefix + "mlp.up_proj.weight": (inter, hidden),
                    prefix + "mlp.down_proj.weight": (hidden, inter)}
    return tensors | {"model.norm.weight": (hidden,), "lm_head.weight": (shape["vocab_size"], hidden)}


def write_shard(file, tensors, generator):
    header, end = {}, 0
    for name, shape in tensors.items():
        begin = end
        end += 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    # bfloat16 values from -0.03 to 0.03: small enough that a model of any depth stays finite.
    values = b"".join(struct.pack("<f", generator.uniform(-0.03, 0.03))[2:] for _ in range(VALUES))
    piece = values * (PIECE // len(values))
    with open(file, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for left in range(end, 0, -len(piece)):
            out.write(piece[:left])


def write_random_model(folder, shape, shards=1):
    """`shape` has the fields of config.json; returns the number of parameters."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config = {"model_type": "llama", "torch_dtype": "bfloat16", "hidden_act": "silu", "rms_norm_eps": 1e-5,
              "rope_theta": 500000.0, "tie_word_embeddings": False, "max_position_embeddings": 65536, **shape}
    (folder / "config.json").write_text(json.dumps(config))
    tensors = tensor_shapes(shape)
    sizes = {name: size[0] * (size[1] if len(size) > 1 else 1) for name, size in tensors.items()}
    parts, done, total = [{} for _ in range(shards)], 0, sum(sizes.values())
    for name, size in tensors.items():
        parts[done * shards // total][name] = size
        done += sizes[name]
    generator = random.Random(1)
    if shards == 1:
        write_shard(folder / "model.safetensors", tensors, generator)
        return total
    weight_map = {}
    for number, part in enumerate(parts, start=1):
        name = f"model-{number:05d}-of-{shards:05d}.safetensors"
        write_shard(folder / name, part, generator)
        weight_map |= dict.fromkeys(part, name)
    index = {"metadata": {"total_size": 2 * total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return total
