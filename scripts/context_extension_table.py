#!/usr/bin/env python3
"""The table of examples/context_extension.sh, from its result files; its rows also as OUT/results.jsonl."""

import collections
import json
import math
import statistics
import sys
from pathlib import Path

NAMES = {"a": "no extension", "b": "YaRN, no training", "c": "YaRN, dense training", "d": "YaRN, trained at density 0.5",
         "e": "YaRN, trained at density 0.1", "f": "(c), gates trained afterwards, 0.1",
         "g": "as (e), by thresholds", "h": "as (f), by thresholds"}
# Whose training each took, by the names of logs.
TRAININGS = {"c": ["c"], "d": ["gates", "d"], "e": ["gates", "e"], "f": ["c", "f-gates"],
             "g": ["gates", "g"], "h": ["c", "f-gates"]}


def lines_of(file):
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def by_length(file):
    lengths = collections.defaultdict(list)
    for line in lines_of(file):
        lengths[line["context"]].append(line)
    return dict(sorted(lengths.items()))


def training_seconds(out, name):
    return sum(line["seconds"] for log in TRAININGS.get(name, []) for line in lines_of(out / f"{log}.log.jsonl"))


def row_of(out, name):
    row = {"row": name, "what": NAMES[name], "training_seconds": round(training_seconds(out, name), 1), "perplexity": {},
           "retrieved": {}, "density": {}}
    for length, lines in by_length(out / f"{name}.ppl.jsonl").items():
        row["perplexity"][length] = round(math.exp(statistics.fmean(line["nll"] for line in lines)), 3)
        row["density"][length] = round(statistics.fmean(line["density"] for line in lines), 4)
    for length, lines in by_length(out / f"{name}.niah.jsonl").items():
        row["retrieved"][length] = round(statistics.fmean(line["retrieved"] for line in lines), 3)
    return row


def main(folder):
    out = Path(folder)
    rows = [row_of(out, name) for name in NAMES if (out / f"{name}.ppl.jsonl").exists()]
    (out / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lengths = sorted({length for row in rows for length in row["perplexity"]})
    head = [f"perplexity {length:,}" for length in lengths] + [f"retrieved {length:,}" for length in lengths]
    print(f"| | {' | '.join(head)} | density | training |")
    print("|---" * (len(head) + 3) + "|")
    for row in rows:
        cells = [f"{row['perplexity'][length]:.2f}" for length in lengths]
        cells += [f"{100 * row['retrieved'].get(length, 0):.0f} %" for length in lengths]
        density = row["density"][lengths[-1]]
        print(f"| ({row['row']}) {row['what']} | {' | '.join(cells)} | {density:.3f} | {row['training_seconds']:.0f} s |")
    found = {row["row"]: row["perplexity"][lengths[-1]] for row in rows}
    for row in ("d", "e", "f", "g", "h"):
        if row in found and "c" in found:
            print(f"({row}) against (c) at {lengths[-1]:,}: {100 * (found[row] / found['c'] - 1):+.2f} %")


if __name__ == "__main__":
    main(sys.argv[1])
