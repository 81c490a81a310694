#!/usr/bin/env bash
# What `make demo` shows: gates are trained for the bundled model, then dense and sparse attention are held side by side.
#   --text PATH ...   the user's own text instead of the bundled one (the last twentieth of it is for evaluation)
#   --out FOLDER      where the adapter, the figures and the report go (default: build/demo)
#   --steps N         training steps (default: 24)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

model=models/books-19m-32k
out=build/demo
steps=24
texts=()
while [ $# -gt 0 ]; do
  case "$1" in
    --text) shift; while [ $# -gt 0 ] && [ "${1#--}" = "$1" ]; do texts+=("$1"); shift; done ;;
    --out) out=$2; shift 2 ;;
    --steps) steps=$2; shift 2 ;;
    *) echo "demo: unknown argument '$1'; expected --text PATH..., --out FOLDER or --steps N" >&2; exit 2 ;;
  esac
done
# The user's text serves both: training leaves its last part out, and evaluation begins elsewhere.
train=(--text examples/demo/train.jsonl)
valid=(--text examples/demo/valid.jsonl)
if [ ${#texts[@]} -gt 0 ]; then
  train=(); valid=()
  for path in "${texts[@]}"; do train+=(--text "$path"); valid+=(--text "$path"); done
fi
mkdir -p "$out"
rm -rf "$out"/gates.checkpoint "$out"/*.jsonl

say() { printf '\n== %s\n' "$*"; }
run() { printf '$ %s\n' "$*"; "$@"; }

say "1. Train gates: the model runs densely, and each layer's gate learns which blocks its attention looks at"
run build/seer distill --model "$model" "${train[@]}" --out "$out/gates" --log "$out/training.jsonl" \
  --steps "$steps" --warmup-steps 4 --retrieval-share 0.6 --calibration-tokens 16384

policies=(--policy dense --policy gate:density=0.2 --policy gate:density=0.1 --policy gate:density=0.05
          --policy streaming:ratio=0.1)
say "2. How well does it predict text when it computes a part of its attention?"
run build/seer eval ppl --model "$model" "${valid[@]}" --gates "$out/gates" "${policies[@]}" --context 8192 \
  --windows 2 --out "$out/ppl.jsonl"

say "3. Does it still find a number that was stated thousands of tokens before?"
run build/seer eval niah --model "$model" "${valid[@]}" --gates "$out/gates" "${policies[@]}" --context 8192 \
  --samples 6 --no-recall --out "$out/niah.jsonl"

say "4. How fast does it read 16,384 tokens?"
run build/seer eval ppl --model "$model" "${valid[@]}" --gates "$out/gates" --policy dense --policy gate:density=0.1 \
  --context 16384 --windows 2 --no-recall --out "$out/speed.jsonl"

say "5. The report"
run build/seer plot --model "$model" --gates "$out/gates" --policy gate:density=0.1 "${valid[@]}" --training "$out/training.jsonl" \
  --results "$out/ppl.jsonl" --results "$out/niah.jsonl" --results "$out/speed.jsonl" --out "$out/report.html"

say "The three figures"
python3 scripts/demo_figures.py "$out"
printf '\nThe report, with the true and the predicted block maps: %s\n' "$out/report.html"
