#!/usr/bin/env python3
"""Writes the hostile files of fuzz/corpus again: make_hostile_corpus.py [FOLDER].

The files are committed; run this after a change here. Names beginning with "ok-" mark files that must be accepted.
Other targets' corpora are written by hand.
"""

import json
import struct
import sys
from pathlib import Path

JSON = {
    "ok-object": b'{"a": [1, 2.5, null, true, "\xc3\xa9"]}',
    "ok-depth-64": b"[" * 64 + b"]" * 64,
    "empty": b"",
    "truncated": b'{"a": [1, 2',
    "two-values": b"{} {}",
    "trailing-comma": b"[1,]",
    "duplicate-key": b'{"a": 1, "b": {"c": 1, "c": 2}}',
    "duplicate-key-escaped": b'{"a": 1, "\\u0061": 2}',
    "depth-65": b"[" * 65 + b"]" * 65,
    "depth-600": b'{"a":' * 600,
    "invalid-utf8": b'{"a": "\xff\xfe"}',
    "overlong-utf8": b'{"a": "\xc0\xaf"}',
    "lone-surrogate": b'{"a": "\\ud800"}',
    "zero-byte-ends-text": b'{"a": 1}\0{"a": 2}',
    "control-character-key": b'{"\\u001b[31m": 1, "\\u001b[31m": 2}',
    "number-out-of-range": b'{"a": 1e999}',
    "long-bad-string": b'{"a": "' + b"x" * 3000 + b"\x7f\xff",
    "nan": b'{"a": NaN}',
    "comment": b'{"a": 1} // no JSON',
}


BIG = 2**62


def safetensors(header, data=b"", length=None):
    """The bytes of a file with this header: an object or the header's own bytes."""
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(begin, end, dtype="F32", shape=None):
    return {"dtype": dtype, "shape": [(end - begin) // 4] if shape is None else shape, "data_offsets": [begin, end]}


def raw_tensor(name=b"a", dtype=b'"F32"', shape=b"[2]", offsets=b"[0,8]", more=b""):
    return b'"%b":{"dtype":%b,"shape":%b,"data_offsets":%b%b}' % (name, dtype, shape, offsets, more)


def raw_file(*entries, data=bytes(8)):
    return safetensors(b"{" + b",".join(entries) + b"}", data)


SAFETENSORS = {
    "ok-two-tensors": safetensors({"__metadata__": {"format": "pt"}, "b": tensor(0, 8), "a": tensor(8, 12)}, bytes(12)),
    "ok-no-tensors": safetensors({}),
    "ok-scalar": safetensors({"a": tensor(0, 4, shape=[])}, bytes(4)),
    "ok-empty-tensors": safetensors({"a": tensor(0, 0, shape=[0, 5]), "b": tensor(0, 8), "c": tensor(8, 8)}, bytes(8)),
    "ok-padded": safetensors(b"{}   "),
    "ok-unaligned": safetensors({"a": tensor(0, 1, "U8", [1]), "b": tensor(1, 5)}, bytes(5)),
    "ok-f4": safetensors({"a": tensor(0, 3, "F4", [6])}, bytes(3)),
    "ok-f6": safetensors({"a": tensor(0, 3, "F6_E2M3", [4]), "b": tensor(3, 6, "F6_E3M2", [4])}, bytes(6)),
    "empty": b"",
    "seven-bytes": bytes(7),
    "no-header": bytes(8),
    "header-longer-than-file": safetensors({}, length=100),
    "header-length-over-limit": safetensors({}, length=100_000_001),
    "header-length-2-64": b"\xff" * 8 + b"{}",
    "header-length-near-2-63": struct.pack("<Q", 2**63 - 1) + b"{}",
    "begins-with-space": safetensors(b" {}"),
    "begins-with-bom": safetensors(b"\xef\xbb\xbf{}"),
    "array": safetensors(b"[]"),
    "truncated-header": safetensors(b'{"a":{"dtype":"F32","sha'),
    "truncated-data": safetensors({"a": tensor(0, 8)}, bytes(7)),
    "trailing-data": safetensors({"a": tensor(0, 8)}, bytes(9)),
    "no-tensors-but-data": safetensors({}, bytes(1)),
    "zero-byte-in-header": safetensors(b'{}\0{"a":1}'),
    "text-behind-object": safetensors(b"{} {}"),
    "invalid-utf8-name": raw_file(raw_tensor(name=b"\xff")),
    "control-characters-in-name": raw_file(raw_tensor(name=b"\\u001b[2J", dtype=b'"F33"')),
    "long-name": raw_file(raw_tensor(name=b"n" * 3000, dtype=b'"F33"')),
    "duplicate-tensor": raw_file(raw_tensor(), raw_tensor()),
    "duplicate-tensor-escaped": raw_file(raw_tensor(), raw_tensor(name=b"\\u0061")),
    "duplicate-field": raw_file(raw_tensor(more=b',"dtype":"F32"')),
    "duplicate-shape": raw_file(raw_tensor(more=b',"shape":[2]')),
    "duplicate-metadata": raw_file(b'"__metadata__":{}', raw_tensor(), b'"__metadata__":{}'),
    "duplicate-metadata-key": raw_file(b'"__metadata__":{"a":"1","a":"2"}', raw_tensor()),
    "metadata-number": raw_file(b'"__metadata__":{"a":1}', raw_tensor()),
    "metadata-object": raw_file(b'"__metadata__":{"a":{}}', raw_tensor()),
    "metadata-string": raw_file(b'"__metadata__":"a"', raw_tensor()),
    "unknown-field": raw_file(raw_tensor(more=b',"strides":[1]')),
    "missing-dtype": raw_file(b'"a":{"shape":[2],"data_offsets":[0,8]}'),
    "missing-shape": raw_file(b'"a":{"dtype":"F32","data_offsets":[0,8]}'),
    "missing-offsets": raw_file(b'"a":{"dtype":"F32","shape":[2]}'),
    "unknown-dtype": raw_file(raw_tensor(dtype=b'"F33"')),
    "lower-case-dtype": raw_file(raw_tensor(dtype=b'"f32"')),
    "dtype-number": raw_file(raw_tensor(dtype=b"32")),
    "dtype-array": raw_file(raw_tensor(dtype=b'["F32"]')),
    "shape-negative": raw_file(raw_tensor(shape=b"[-2]")),
    "shape-minus-zero": raw_file(raw_tensor(shape=b"[-0]", offsets=b"[0,0]"), data=b""),
    "shape-float": raw_file(raw_tensor(shape=b"[2.0]")),
    "shape-string": raw_file(raw_tensor(shape=b'["2"]')),
    "shape-nested": raw_file(raw_tensor(shape=b"[[2]]")),
    "shape-object": raw_file(raw_tensor(shape=b"{}")),
    "shape-2-64": raw_file(raw_tensor(shape=b"[18446744073709551616]")),
    "shape-2-63": raw_file(raw_tensor(shape=b"[9223372036854775808]")),
    "shape-product-wraps-to-2": raw_file(raw_tensor(shape=b"[4294967296,4294967296,2]")),
    "shape-bits-wrap": raw_file(raw_tensor(shape=b"[%d,2]" % BIG)),
    "shape-zero-hides-overflow": raw_file(raw_tensor(shape=b"[%d,%d,0]" % (BIG, BIG), offsets=b"[0,0]"), data=b""),
    "shape-does-not-fit-data": raw_file(raw_tensor(shape=b"[3]")),
    "partial-byte": safetensors({"a": tensor(0, 1, "F4", [3])}, bytes(1)),
    "offsets-one": raw_file(raw_tensor(offsets=b"[0]")),
    "offsets-three": raw_file(raw_tensor(offsets=b"[0,8,8]")),
    "offsets-negative": raw_file(raw_tensor(offsets=b"[-8,0]")),
    "offsets-reversed": raw_file(raw_tensor(offsets=b"[8,0]")),
    "offsets-huge": raw_file(raw_tensor(offsets=b"[18446744073709551608,18446744073709551615]")),
    "offsets-out-of-range": raw_file(raw_tensor(offsets=b"[8,16]")),
    "hole-at-start": safetensors({"a": tensor(4, 8)}, bytes(8)),
    "hole": safetensors({"a": tensor(0, 4), "b": tensor(8, 12)}, bytes(12)),
    "overlap": safetensors({"a": tensor(0, 8), "b": tensor(4, 12)}, bytes(12)),
    "overlap-same": safetensors({"a": tensor(0, 8), "b": tensor(0, 8)}, bytes(8)),
    "overlap-empty": safetensors({"a": tensor(0, 8), "b": tensor(4, 4)}, bytes(8)),
    "deep": safetensors(b'{"a":' * 600),
    "deep-shape": raw_file(raw_tensor(shape=b"[" * 200)),
}


def index(*pairs, **more):
    return json.dumps({**more, "weight_map": dict(pairs)}).encode()


CHECKPOINT_INDEX = {
    "ok-two-shards": index(("a", "model-00001-of-00002.safetensors"), ("b", "model-00002-of-00002.safetensors"),
                           metadata={"total_size": 16}),
    "ok-dots-in-name": index(("a", "model..v2.safetensors")),
    "array": b"[]",
    "no-map": b'{"metadata": {}}',
    "empty-map": index(),
    "map-is-array": b'{"weight_map": ["a.safetensors"]}',
    "file-is-number": b'{"weight_map": {"a": 1}}',
    "file-is-null": b'{"weight_map": {"a": null}}',
    "file-empty": index(("a", "")),
    "parent": index(("a", "../secret.safetensors")),
    "parent-alone": index(("a", "..")),
    "absolute": index(("a", "/etc/secret.safetensors")),
    "subfolder": index(("a", "sub/model.safetensors")),
    "backslash": index(("a", "..\\secret.safetensors")),
    "zero-byte": index(("a", "secret\0.safetensors")),
    "suffix-alone": index(("a", ".safetensors")),
    "pickle": index(("a", "pytorch_model.bin")),
    "long-name": index(("a", "n" * 300 + ".safetensors")),
    "control-characters": index(("\x1b[2J", "/\x1b[2J")),
    "duplicate-tensor": b'{"weight_map": {"a": "1.safetensors", "a": "2.safetensors"}}',
    "deep": b'{"weight_map":' * 200,
    "invalid-utf8": b'{"weight_map": {"\xc3\x28": "1.safetensors"}}',
    "truncated": b'{"weight_map": {"a": "1.safe',
}

LLAMA = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 512, "hidden_size": 256,
    "intermediate_size": 384, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 256}


def config(without=(), **changes):
    return json.dumps({key: value for key, value in {**LLAMA, **changes}.items() if key not in without}).encode()


CONFIG = {
    "ok-llama": config(),
    "ok-yarn": config(rope_scaling=YARN, rope_theta=500000.0),
    "ok-generation": config(generation_config={"eos_token_id": [1, 2], "bos_token_id": 0, "pad_token_id": -1}),
    "array": b"[]",
    "no-model-type": config(without=["model_type"]),
    "model-type-unknown": config(model_type="gemma2"),
    "model-type-number": config(model_type=1),
    "architecture-unknown": config(architectures=["LlamaForSequenceClassification"]),
    "no-vocab": config(without=["vocab_size"]),
    "vocab-negative": config(vocab_size=-1),
    "vocab-zero": config(vocab_size=0),
    "vocab-2-31": config(vocab_size=2**31),
    "vocab-2-64": config(vocab_size=2**64),
    "vocab-float": config(vocab_size=512.5),
    "vocab-string": config(vocab_size="512"),
    "layers-many": config(num_hidden_layers=2**31 - 1),
    "parameters-overflow": config(hidden_size=2**31 - 256, intermediate_size=2**31 - 1, vocab_size=2**31 - 1),
    "heads-do-not-divide": config(num_key_value_heads=3),
    "more-kv-heads": config(num_key_value_heads=8),
    "hidden-not-divisible": config(hidden_size=255),
    "head-dim-odd": config(head_dim=63),
    "hidden-act-gelu": config(hidden_act="gelu"),
    "hidden-act-object": config(hidden_act={}),
    "norm-eps-negative": config(rms_norm_eps=-1e-5),
    "tie-number": config(tie_word_embeddings=1),
    "dtype-fp8": config(torch_dtype="float8_e4m3fn"),
    "quantized": config(quantization_config={"quant_method": "gptq", "bits": 4}),
    "quantized-list": config(quantization_config=[1]),
    "mistral-window": config(model_type="mistral", architectures=["MistralForCausalLM"], sliding_window=512),
    "qwen-window": config(model_type="qwen2", architectures=["Qwen2ForCausalLM"], use_sliding_window=True),
    "layer-types": config(layer_types=["full_attention", "sliding_attention"]),
    "layer-types-short": config(layer_types=["full_attention"]),
    "rope-dynamic": config(rope_scaling={"type": "dynamic", "factor": 2.0}),
    "rope-longrope": config(rope_scaling={"rope_type": "longrope", "short_factor": [1], "long_factor": [1]}),
    "rope-array": config(rope_scaling=[4.0]),
    "rope-type-number": config(rope_scaling={"rope_type": 3}),
    "rope-linear-no-factor": config(rope_scaling={"type": "linear"}),
    "rope-factor-zero": config(rope_scaling={**YARN, "factor": 0}),
    "rope-factor-string": config(rope_scaling={**YARN, "factor": "4"}),
    "rope-original-zero": config(rope_scaling={**YARN, "original_max_position_embeddings": 0}),
    "rope-theta-one": config(rope_scaling=YARN, rope_theta=1.0),
    "rope-theta-negative": config(rope_theta=-1.0),
    "rope-theta-huge": config(rope_theta=10).replace(b'"rope_theta": 10', b'"rope_theta": 1e400'),
    "rope-llama3-frequencies": config(rope_scaling={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 4.0,
                                                    "high_freq_factor": 4.0}),
    "rope-by-layer": config(rope_parameters={"sliding_attention": {"rope_type": "default"}}),
    "rope-by-layer-control": config(rope_parameters={"\x1b[2J" * 50: {}}),
    "rope-partial": config(partial_rotary_factor=0.5),
    "eos-string": config(eos_token_id="</s>"),
    "eos-nested": config(eos_token_id=[[1]]),
    "eos-huge": config(eos_token_id=[2**40]),
    "generation-eos-negative": config(generation_config={"eos_token_id": [-5]}),
    "generation-array": config(generation_config=[1]),
    "deep": b'{"rope_scaling":' * 200,
    "duplicate": b'{"vocab_size": 1, "vocab_size": 2}',
}

CORPORA = {"json": JSON, "safetensors": SAFETENSORS, "checkpoint_index": CHECKPOINT_INDEX, "config": CONFIG}


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "fuzz" / "corpus"
    for target, files in CORPORA.items():
        (folder / target).mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / target / name).write_bytes(content)


if __name__ == "__main__":
    main()
