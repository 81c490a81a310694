#include "kernels/block_sparse_attention/layout.h"

namespace seer {
namespace {

TileLayout layout_of(const AttentionParams& params, std::int64_t panel_width, DotKind dot,
                     std::int64_t heads) {
  TileLayout layout{};
  const std::int64_t block = params.block_size;
  const std::int64_t dim = params.head_dim;
  const bool pairs = dot == DotKind::kBFloat16Pair;
  const bool widen = params.element == Element::kBFloat16 && !pairs;
  layout.heads = heads;
  layout.tiles_per_group = ceil_div(params.num_q_heads / params.num_kv_heads, heads);
  layout.head_panels = ceil_div(block, panel_width);
  layout.dim_units = pairs ? ceil_div<std::int64_t>(dim, 2) : dim;
  layout.map_blocks = params.block_map != nullptr ? ceil_div(params.kv_len, block) : 0;

  std::size_t end = 0;
  const auto place = [&end](std::int64_t units) {
    const std::size_t begin = end;
    end += ceil_div<std::size_t>(static_cast<std::size_t>(units) * 4, 64) * 64;
    return begin;
  };
  const std::int64_t rows = heads * layout.head_panels * panel_width;
  layout.q_panels = place(rows * layout.dim_units);
  layout.out_panels = place(rows * dim);
  layout.row_max = place(rows);
  layout.row_sum = place(rows);
  layout.scores = place(block * panel_width);
  layout.probs = place(pairs ? block / 2 * panel_width : 0);
  layout.keys = place(widen ? block * dim : 0);
  layout.values = place(widen ? block * dim : pairs ? block / 2 * dim : 0);
  layout.rows = place(panel_width * dim);
  layout.block_max = place(layout.map_blocks * rows);
  layout.bytes = end;
  return layout;
}

}  // namespace

TileLayout tile_layout(const AttentionParams& params, std::int64_t panel_width, DotKind dot) {
  // Queries and outputs of all heads of a tile should stay in a second-level cache; and there must
  // be enough tiles to spread over many threads.
  constexpr std::size_t kMaxScratch = 640 << 10;
  constexpr std::int64_t kEnoughTiles = 128;
  std::int64_t heads = params.num_q_heads / params.num_kv_heads;
  TileLayout layout = layout_of(params, panel_width, dot, heads);
  while (heads > 1 && (layout.bytes > kMaxScratch || num_tiles(params, layout) < kEnoughTiles)) {
    heads = ceil_div<std::int64_t>(heads, 2);
    layout = layout_of(params, panel_width, dot, heads);
  }
  return layout;
}

}  // namespace seer
