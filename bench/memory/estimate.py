#!/usr/bin/env python3
"""Compares the memory estimate of `seer info` with the measured peak of `seer generate`, one JSON line a run."""

import argparse
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from peak_memory import generate_peak  # noqa: E402
from random_model import write_random_model  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
# 0.4 billion parameters, and a small model with a wide vocabulary and wide layers.
RANDOM_MODELS = {
    "random-400m": {"hidden_size": 1536, "intermediate_size": 4096, "num_hidden_layers": 12,
                    "num_attention_heads": 12, "num_key_value_heads": 4, "head_dim": 128, "vocab_size": 32000},
    "random-wide": {"hidden_size": 512, "intermediate_size": 3072, "num_hidden_layers": 4,
                    "num_attention_heads": 8, "num_key_value_heads": 8, "head_dim": 64, "vocab_size": 100000},
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", default=str(ROOT / "build" / "seer"))
    parser.add_argument("--context", type=int, nargs="+", default=[2048, 8192, 32768])
    parser.add_argument("--dtype", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--prefill-chunk", type=int, nargs="+", default=[2048])
    parser.add_argument("--model", nargs="+", default=["books-19m-32k", *RANDOM_MODELS],
                        help="folders, or names of the random models")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for name in arguments.model:
            model = Path(name)
            if name in RANDOM_MODELS:
                model = Path(scratch) / name
                write_random_model(model, RANDOM_MODELS[name])
            elif not model.is_dir():
                model = ROOT / "models" / name
            for context in arguments.context:
                for dtype in arguments.dtype:
                    for chunk in arguments.prefill_chunk:
                        found = generate_peak(arguments.program, model, context, dtype, chunk)
                        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
