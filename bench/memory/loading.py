#!/usr/bin/env python3
"""Measures the peak of loading a large checkpoint against its weights' size, one JSON line for each dtype.

Writes a random bfloat16 model in shards (4.4 GB unless --layers says otherwise) to a temporary folder, runs one token
through it and deletes it. Mapped pages of the checkpoint count in the peak.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from peak_memory import run_with_peak  # noqa: E402
from random_model import write_random_model  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
SHAPE = {"hidden_size": 2560, "intermediate_size": 8192, "num_attention_heads": 20, "num_key_value_heads": 4,
         "head_dim": 128, "vocab_size": 64000}
BYTES = {"bfloat16": 2, "float32": 4}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", default=str(ROOT / "build" / "seer"))
    parser.add_argument("--dtype", nargs="+", choices=list(BYTES), default=list(BYTES))
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--folder", help="where the model is written (default: the temporary folder)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as scratch:
        model = Path(scratch) / "random"
        parameters = write_random_model(model, {**SHAPE, "num_hidden_layers": arguments.layers}, arguments.shards)
        tokens = Path(scratch) / "tokens.json"
        tokens.write_text("[1]")
        for dtype in arguments.dtype:
            start = time.monotonic()
            code, peak, errors = run_with_peak([arguments.program, "generate", "--model", str(model), "--dtype", dtype,
                                                "--tokens", str(tokens), "--max-new-tokens", "1"])
            if code != 0:
                sys.exit(f"seer generate ended with {code}: {errors}")
            weights = parameters * BYTES[dtype]
            print(json.dumps({"stored": "bfloat16", "stored_bytes": 2 * parameters, "shards": arguments.shards,
                              "dtype": dtype, "weights": weights, "peak": peak,
                              "peak_over_weights": round(peak / weights, 4),
                              "seconds": round(time.monotonic() - start, 1)}), flush=True)


if __name__ == "__main__":
    main()
