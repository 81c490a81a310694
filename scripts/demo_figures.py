#!/usr/bin/env python3
"""The three figures that the demo is about, from its result files: quality, retrieval, and time against dense."""

import json
import math
import statistics
import sys
from pathlib import Path

SPARSE = "gate:density=0.1"


def samples(file, policy):
    lines = [json.loads(line) for line in Path(file).read_text().splitlines()]
    return sorted((line for line in lines if line["policy"] == policy), key=lambda line: line["sample"])


def mean(values):
    return statistics.fmean(values)


def main(folder):
    dense, sparse = (samples(f"{folder}/ppl.jsonl", policy) for policy in ("dense", SPARSE))
    density = mean(line["density"] for line in sparse)
    print(f"1. perplexity   {math.exp(mean(s['nll'] for s in sparse)):.2f} with {100 * density:.1f} % of the attention map, "
          f"{math.exp(mean(s['nll'] for s in dense)):.2f} with all of it ({sparse[0]['context']:,} tokens)")
    dense, sparse = (samples(f"{folder}/niah.jsonl", policy) for policy in ("dense", SPARSE))
    print(f"2. retrieval    {100 * mean(s['answer_tokens'] for s in sparse):.0f} % of the answers' tokens right, "
          f"{100 * mean(s['answer_tokens'] for s in dense):.0f} % with the whole map ({len(sparse)} documents)")
    dense, sparse = (samples(f"{folder}/speed.jsonl", policy) for policy in ("dense", SPARSE))
    print(f"3. speed        {statistics.median(d['seconds'] / s['seconds'] for d, s in zip(dense, sparse)):.2f} times "
          f"as fast as dense: {statistics.median(s['seconds'] for s in sparse):.1f} s for {sparse[0]['context']:,} tokens")


if __name__ == "__main__":
    main(sys.argv[1])
