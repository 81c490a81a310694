// From plain arguments to a Tile, once per instruction set.
#if defined(SEER_ATTENTION_CPU_ENTRY_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SEER_ATTENTION_CPU_ENTRY_INL_H_
#undef SEER_ATTENTION_CPU_ENTRY_INL_H_
#else
#define SEER_ATTENTION_CPU_ENTRY_INL_H_
#endif

#include "kernels/block_sparse_attention/tile-inl.h"

SEER_BEFORE_NAMESPACE();
namespace seer::SEER_TARGET_NAMESPACE {

template <class Product>
void RunTile(const AttentionParams& params, const TileLayout& layout, std::int64_t batch,
             std::int64_t q_head, std::int64_t q_block, void* scratch) {
  const std::int64_t first_row = q_block * params.block_size;
  const std::int64_t left = params.q_len - first_row;
  const TileGeometry geometry{batch,
                              q_head,
                              q_head / (params.num_q_heads / params.num_kv_heads),
                              q_block,
                              left < params.block_size ? left : params.block_size,
                              first_row + 1 + params.kv_len - params.q_len};
  Tile<Product>(params, layout, geometry, static_cast<std::uint8_t*>(scratch)).Run();
}

}  // namespace seer::SEER_TARGET_NAMESPACE
SEER_AFTER_NAMESPACE();

#endif
