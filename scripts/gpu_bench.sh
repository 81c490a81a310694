#!/usr/bin/env bash
# Measures attention, prefill and distillation on a Hopper GPU, as in docs/performance.md: about five minutes on one H200.
#   scripts/gpu_bench.sh FOLDER     writes attention.jsonl, attention-backward.jsonl, gate.jsonl, prefill-32k.jsonl,
#                               prefill-128k.jsonl and distill-32k.jsonl
#   SEER=PROGRAM                    another program than build/seer
set -euo pipefail

die() {
  printf 'gpu_bench: %s\n' "$*" >&2
  exit 2
}
[[ $# == 1 ]] || die "expected one folder for the results: scripts/gpu_bench.sh FOLDER"
readonly folder=$1
seer=$(realpath "${SEER:-$(dirname "${BASH_SOURCE[0]}")/../build/seer}") || die "no program there: run 'make cuda', or set SEER"
[[ -x $seer ]] || die "$seer: no program: run 'make cuda', or set SEER"
mkdir -p "$folder"

attention=$folder/attention.jsonl
: >"$attention.part"
for tokens in 8192 32768 131072; do
  rounds=10
  if [[ $tokens == 131072 ]]; then rounds=3; fi
  for head_dim in 128 64; do
    for block in 64 128; do
      printf 'gpu_bench: attention, %s tokens, head_dim %s, blocks of %s\n' "$tokens" "$head_dim" "$block" >&2
      "$seer" bench attention --device cuda --heads 32 --kv-heads 8 --seq "$tokens" --head-dim "$head_dim" \
        --block-size "$block" --density 1.0,0.5,0.2,0.1,0.05 --repeats "$rounds" --warmup 2 --json >>"$attention.part"
    done
  done
done
mv "$attention.part" "$attention"

backward=$folder/attention-backward.jsonl
: >"$backward.part"
for tokens in 8192 32768; do
  for head_dim in 128 64; do
    for block in 64 128; do
      printf 'gpu_bench: backward, %s tokens, head_dim %s, blocks of %s\n' "$tokens" "$head_dim" "$block" >&2
      "$seer" bench attention --backward --device cuda --heads 32 --kv-heads 8 --seq "$tokens" --head-dim "$head_dim" \
        --block-size "$block" --density 1.0,0.5,0.2,0.1,0.05 --repeats 5 --warmup 2 --json >>"$backward.part"
    done
  done
done
mv "$backward.part" "$backward"
"$seer" bench gate --device cuda --seq 8192,32768,131072 --policy "gate:ratio=0.1;gate:threshold=0.002;gate:mass=0.9" \
  --out "$folder/gate.jsonl"

readonly shape=(--shape llama-3.1-8b --device cuda)
"$seer" bench prefill "${shape[@]}" --seq 32768 --policy gate:ratio=0.1 --repeats 5 --out "$folder/prefill-32k.jsonl"
"$seer" bench prefill "${shape[@]}" --seq 131072 --policy gate:ratio=0.1 --repeats 2 --out "$folder/prefill-128k.jsonl"
"$seer" bench distill "${shape[@]}" --seq 32768 --repeats 3 --out "$folder/distill-32k.jsonl"
for batch in 1 2; do
  "$seer" bench finetune --model models/books-19m-32k --device cuda --seq 16384 --batch-size $batch \
    --out "$folder/finetune-$batch.jsonl"
done
