#!/usr/bin/env python3
"""Times `seer generate` against transformers with SDPA on the same prompt, in alternating rounds.

    python3 bench/model/generate_against_transformers.py --model models/books-19m-32k --prompt-tokens 512,8192

Needs the packages torch and transformers. Both run greedily in the same dtype and on the same number of threads, and
must produce the same tokens. Prefill is the time to the first token (transformers computes the last position's logits
only, as Seer does). Prints one JSON line for each prompt length: medians, and the ratios of Seer's speed to
transformers' with their spread over the rounds.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import transformers


def run_seer(program, model, tokens, args):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(tokens, file)
        file.flush()
        command = [program, "generate", "--model", model, "--tokens", file.name, "--dtype", args.dtype,
                   "--max-new-tokens", str(args.new_tokens), "--threads", str(args.threads), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@torch.inference_mode()
def run_transformers(model, tokens, new_tokens):
    start = time.perf_counter()
    result = model(torch.tensor([tokens]), use_cache=True, logits_to_keep=1)
    made = [int(result.logits[0, -1].argmax())]
    first = time.perf_counter()
    while len(made) < new_tokens:
        result = model(torch.tensor([made[-1:]]), past_key_values=result.past_key_values, use_cache=True)
        made.append(int(result.logits[0, -1].argmax()))
    last = time.perf_counter()
    return {"tokens": made, "prefill_s": first - start, "decode_tokens_per_s": (new_tokens - 1) / (last - first)}


def spread(values):
    return {"median": round(statistics.median(values), 4), "min": round(min(values), 4), "max": round(max(values), 4)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seer", default="build/seer")
    parser.add_argument("--model", required=True)
    parser.add_argument("--prompt-tokens", default="512,8192")
    parser.add_argument("--new-tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    peer = transformers.AutoModelForCausalLM.from_pretrained(
        args.model, dtype=getattr(torch, args.dtype), attn_implementation="sdpa")
    random = torch.Generator().manual_seed(0)
    for length in map(int, args.prompt_tokens.split(",")):
        prompt = torch.randint(256, peer.config.vocab_size, (length,), generator=random).tolist()
        pairs = []
        for _ in range(args.rounds):
            ours = run_seer(args.seer, args.model, prompt, args)
            theirs = run_transformers(peer, prompt, args.new_tokens)
            if args.dtype == "float32" and ours["new_ids"] != theirs["tokens"][:len(ours["new_ids"])]:
                sys.exit(f"after {length} tokens: Seer and transformers do not continue alike")
            if len(ours["new_ids"]) < args.new_tokens // 2:
                sys.exit(f"after {length} tokens: the model ended after {len(ours['tokens'])} tokens; too few to time")
            pairs.append((ours, theirs))
        line = {
            "model": Path(args.model).name, "dtype": args.dtype, "threads": args.threads, "rounds": args.rounds,
            "prompt_tokens": length, "new_tokens": args.new_tokens, "attention_density": 1.0,
            "torch": torch.__version__, "transformers": transformers.__version__,
            "prefill_s": {"seer": spread([o["seconds_to_first_token"] for o, _ in pairs]),
                          "transformers": spread([t["prefill_s"] for _, t in pairs])},
            "decode_tokens_per_s": {"seer": spread([o["tokens_per_second"] for o, _ in pairs]),
                                    "transformers": spread([t["decode_tokens_per_s"] for _, t in pairs])},
            "prefill_speedup": spread([t["prefill_s"] / o["seconds_to_first_token"] for o, t in pairs]),
            "decode_speedup": spread([o["tokens_per_second"] / t["decode_tokens_per_s"] for o, t in pairs]),
        }
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
