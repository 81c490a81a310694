#!/usr/bin/env bash
# What must hold on a machine with a Hopper GPU: the GPU tests pass, and compute-sanitizer's memcheck and synccheck find
# nothing in a part of them. Builds nothing.
#
#   scripts/gpu_check.sh [FOLDER]    FOLDER holds gpu_ops_test, or tests/gpu_ops_test (default: build/cuda). The program
#                                    and libseer_ops.so may have been built elsewhere: LD_LIBRARY_PATH then names the
#                                    folder of the latter and LibTorch's lib
#   SEER_GPU_FILTER=FILTER           GoogleTest's filter for both sanitizers (default: below)
#
# About a minute on an H200. racecheck is left out: it takes for a race what an mbarrier orders when one thread arrives
# for its warp.
set -euo pipefail
if [ $# -gt 1 ] || [ "${1:-}" = --help ]; then
  sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"
  [ "${1:-}" = --help ] && exit 0 || exit 2
fi

folder=${1:-$(dirname "${BASH_SOURCE[0]}")/../build/cuda}
program=$folder/gpu_ops_test
[ -x "$program" ] || program=$folder/tests/gpu_ops_test
if [ ! -x "$program" ]; then
  echo "gpu_check: no gpu_ops_test in '$folder' or its tests folder: 'make cuda' builds it" >&2
  exit 1
fi
export SEER_REQUIRE_GPU=1

echo "gpu_check: all GPU tests"
"$program" --gtest_brief=1

sanitizer=""
for candidate in "$(command -v compute-sanitizer || true)" "${CUDA_HOME:-}/bin/compute-sanitizer" \
                 /usr/local/cuda/bin/compute-sanitizer; do
  if [ -x "$candidate" ]; then sanitizer=$candidate; break; fi
done
if [ -z "$sanitizer" ]; then
  echo "gpu_check: no compute-sanitizer found: install it (it comes with the CUDA toolkit), or set CUDA_HOME" >&2
  exit 1
fi

# All but what repeats a kernel often or computes for long; for synccheck, which is slower, each kernel at ragged lengths,
# with masks of every kind, padded and unaligned tensors.
memcheck=${SEER_GPU_FILTER:--*DoNotLeak*:*length_1000*:*131072*}
synccheck=${SEER_GPU_FILTER:-*length_65_*:*length_129_*:*one_query*:*no_keys*:*layout_*:*mask_more_keys_*:*RmsNormOfGroups*}
# Every tensor has an allocation of its own, so that an access beside one is seen.
export PYTORCH_NO_CUDA_MEMORY_CACHING=1
for tool in memcheck synccheck; do
  filter=${!tool}
  echo "gpu_check: compute-sanitizer --tool $tool on $filter"
  "$sanitizer" --tool "$tool" --error-exitcode 9 --print-limit 5 "$program" --gtest_brief=1 --gtest_filter="$filter"
done
echo "gpu_check: all is well"
