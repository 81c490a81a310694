#!/usr/bin/env bash
# What `make demo` shows: for now the attention operators against dense attention on this machine.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cat <<'TEXT'
Seer's demo will train attention gates for a small bundled language model and then let the model read with
a tenth of its attention map. Training is not written yet. What works today is the operator underneath:
attention that reads only the key blocks that a mask keeps. Here it is against dense attention.

TEXT
for density in 0.5 0.1; do
  (set -x; build/seer bench attention --seq 4096 --heads 8 --kv-heads 2 --head-dim 64 --density "$density")
  echo
done
