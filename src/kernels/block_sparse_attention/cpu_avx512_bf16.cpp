// The attention kernel with the BF16 dot product (vdpbf16ps). Highway 1.0 has no such target, so
// this file takes its AVX-512 target alone, adds the instruction set to it and keeps the result in
// a namespace of its own.
#include "kernels/block_sparse_attention/cpu_targets.h"

#if defined(__x86_64__)

#include "hwy/detect_targets.h"
#undef HWY_TARGET
#define HWY_TARGET HWY_AVX3
#include "hwy/highway.h"

#define SEER_HAVE_BF16_DOT
#define SEER_TARGET_NAMESPACE N_AVX3_BF16
#define SEER_BEFORE_NAMESPACE() \
  HWY_BEFORE_NAMESPACE();       \
  _Pragma("GCC target(\"avx512bf16\")") static_assert(true, "")
#define SEER_AFTER_NAMESPACE HWY_AFTER_NAMESPACE
#include "kernels/block_sparse_attention/tile-inl.h"

SEER_BEFORE_NAMESPACE();
namespace seer::N_AVX3_BF16 {

void RunTile(const AttentionParams& params, const TileLayout& layout, const TileIndex& at,
             void* scratch) {
  Tile<BFloat16PairProduct>(params, layout, at, static_cast<std::uint8_t*>(scratch)).Run();
}

AttentionTarget Target() {
  return {kPanelWidth, &RunTile};
}

}  // namespace seer::N_AVX3_BF16
SEER_AFTER_NAMESPACE();

namespace seer {

AttentionTarget avx512_bf16_attention_target() {
  return N_AVX3_BF16::Target();
}

}  // namespace seer

#endif  // __x86_64__
