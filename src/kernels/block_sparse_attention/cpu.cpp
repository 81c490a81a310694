#include "kernels/block_sparse_attention/cpu.h"

#include "kernels/block_sparse_attention/cpu_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/block_sparse_attention/cpu.cpp"
#include "hwy/foreach_target.h"  // includes this file once for each instruction set
#include "hwy/highway.h"

#define SEER_TARGET_NAMESPACE HWY_NAMESPACE
#define SEER_BEFORE_NAMESPACE HWY_BEFORE_NAMESPACE
#define SEER_AFTER_NAMESPACE HWY_AFTER_NAMESPACE
#include "kernels/block_sparse_attention/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace seer::HWY_NAMESPACE {

template <class Product>
void RunTile(const AttentionParams& params, const TileLayout& layout, const TileIndex& at,
             void* scratch) {
  Tile<Product>(params, layout, at, static_cast<std::uint8_t*>(scratch)).Run();
}

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

std::int64_t attention_num_tiles(const AttentionParams& params, CpuIsa isa) {
  return num_tiles(params, layout_for(params, isa));
}

std::size_t attention_scratch_bytes(const AttentionParams& params, CpuIsa isa) {
  return layout_for(params, isa).bytes;
}

void attention_tile(const AttentionParams& params, CpuIsa isa, std::int64_t tile, void* scratch) {
  // Later query blocks see more keys: they come first. Neighbouring tiles share a query block.
  const TileLayout layout = layout_for(params, isa);
  const std::int64_t tiles_per_block = params.batch * params.num_kv_heads * layout.tiles_per_group;
  const std::int64_t group =
      tile % tiles_per_block / layout.tiles_per_group;  // [batch, num_kv_heads] flattened
  const std::int64_t part = tile % layout.tiles_per_group;
  const std::int64_t group_heads = params.num_q_heads / params.num_kv_heads;
  const std::int64_t left = group_heads - part * layout.heads;
  TileIndex at;
  at.batch = group / params.num_kv_heads;
  at.kv_head = group % params.num_kv_heads;
  at.first_head = at.kv_head * group_heads + part * layout.heads;
  at.num_heads = left < layout.heads ? left : layout.heads;
  at.q_block = ceil_div(params.q_len, params.block_size) - 1 - tile / tiles_per_block;
  target_for(params, isa).run(params, layout, at, scratch);
}

}  // namespace seer

#endif  // HWY_ONCE
