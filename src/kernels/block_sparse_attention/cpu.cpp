#include "kernels/block_sparse_attention/cpu.h"

#include "kernels/block_sparse_attention/cpu_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/block_sparse_attention/cpu.cpp"
#include "hwy/foreach_target.h"  // includes this file once for each instruction set
#include "hwy/highway.h"

#define SEER_TARGET_NAMESPACE HWY_NAMESPACE
#define SEER_BEFORE_NAMESPACE HWY_BEFORE_NAMESPACE
#define SEER_AFTER_NAMESPACE HWY_AFTER_NAMESPACE
#include "kernels/block_sparse_attention/cpu_entry-inl.h"

HWY_BEFORE_NAMESPACE();
namespace seer::HWY_NAMESPACE {

AttentionTarget Target(Element element) {
  return {kPanelWidth, element == Element::kFloat32 ? &RunTile<Float32Product>
                                                    : &RunTile<WidenedBFloat16Product>};
}

}  // namespace seer::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace seer {
namespace {

// The pair product reads two neighbouring channels at once, so an odd head_dim takes the widening
// kernel.
bool uses_pairs(const AttentionParams& params, CpuIsa isa) {
  return isa == CpuIsa::kAvx512Bf16 && params.element == Element::kBFloat16 &&
         params.head_dim % 2 == 0;
}

AttentionTarget target_for(const AttentionParams& params, CpuIsa isa) {
#if defined(__x86_64__)
  if (uses_pairs(params, isa)) return avx512_bf16_attention_target();
  if (isa >= CpuIsa::kAvx512) return N_AVX3::Target(params.element);
  if (isa == CpuIsa::kAvx2) return N_AVX2::Target(params.element);
#endif
  return HWY_STATIC_DISPATCH(Target)(params.element);
}

TileLayout layout_for(const AttentionParams& params, CpuIsa isa) {
  const DotKind dot = uses_pairs(params, isa) ? DotKind::kBFloat16Pair : DotKind::kFloat;
  return tile_layout(params, target_for(params, isa).panel_width, dot);
}

}  // namespace

std::int64_t attention_num_tiles(const AttentionParams& params) {
  return params.batch * params.num_q_heads * ceil_div(params.q_len, params.block_size);
}

std::size_t attention_scratch_bytes(const AttentionParams& params, CpuIsa isa) {
  return layout_for(params, isa).bytes;
}

void attention_tile(const AttentionParams& params, CpuIsa isa, std::int64_t tile, void* scratch) {
  // Later query blocks see more keys: they come first. Neighbouring tiles are the heads of one
  // query block, which share keys and values in the cache.
  const std::int64_t heads = params.batch * params.num_q_heads;
  const std::int64_t q_block = ceil_div(params.q_len, params.block_size) - 1 - tile / heads;
  const std::int64_t head = tile % heads;
  target_for(params, isa)
      .run(params, layout_for(params, isa), head / params.num_q_heads, head % params.num_q_heads,
           q_block, scratch);
}

}  // namespace seer

#endif  // HWY_ONCE
