// How one tile's scratch memory is laid out. A tile is one query block of one query head.
//
// Query rows lie along vector lanes ("panels" of `panel_width` rows), so that row maxima, sums and
// rescaling are vertical operations, and keys and values are read as scalars where they lie: only q
// is transposed, once a tile.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/ceil_div.h"
#include "kernels/block_sparse_attention/params.h"

namespace seer {

// What the inner products read: floats, or pairs of bfloat16 along the summed dimension (the BF16
// dot product).
enum class DotKind { kFloat, kBFloat16Pair };

struct TileLayout {
  std::int64_t panels;  // ceil(block_size / panel_width)
  std::int64_t
      dim_units;  // 32-bit units along head_dim: head_dim floats or ceil(head_dim / 2) pairs
  std::int64_t map_blocks;  // key blocks whose row maxima are kept; 0 without a block map
  // Byte offsets into the scratch, each a multiple of 64.
  std::size_t q_panels;    // [panels][dim_units][panel_width] 32-bit units
  std::size_t out_panels;  // [panels][head_dim][panel_width] float, not yet divided by the row sums
  std::size_t row_max;     // [panels][panel_width] float: running maxima, base 2
  std::size_t row_sum;     // [panels][panel_width] float
  std::size_t scores;      // [block_size][panel_width] float, of one panel
  std::size_t
      probs;         // [block_size / 2][panel_width] pairs of bfloat16; unused with DotKind::kFloat
  std::size_t keys;  // [block_size][head_dim] float: keys converted from bfloat16, where needed
  std::size_t
      values;  // [block_size][head_dim] float, or [block_size / 2][head_dim] pairs, where needed
  std::size_t rows;       // [panel_width][head_dim] float: staging for transposes and conversions
  std::size_t block_max;  // [map_blocks][panels][panel_width] float: row maxima inside each key
                          // block, base 2
  std::size_t bytes;
};

inline TileLayout tile_layout(const AttentionParams& params, std::int64_t panel_width,
                              DotKind dot) {
  TileLayout layout{};
  const std::int64_t block = params.block_size;
  const std::int64_t dim = params.head_dim;
  const bool pairs = dot == DotKind::kBFloat16Pair;
  const bool convert = params.element == Element::kBFloat16 && !pairs;
  layout.panels = ceil_div(block, panel_width);
  layout.dim_units = pairs ? ceil_div<std::int64_t>(dim, 2) : dim;
  layout.map_blocks = params.block_map != nullptr ? ceil_div(params.kv_len, block) : 0;

  std::size_t end = 0;
  const auto place = [&end](std::int64_t units) {
    const std::size_t begin = end;
    end += ceil_div<std::size_t>(static_cast<std::size_t>(units) * 4, 64) * 64;
    return begin;
  };
  const std::int64_t rows = layout.panels * panel_width;
  layout.q_panels = place(rows * layout.dim_units);
  layout.out_panels = place(rows * dim);
  layout.row_max = place(rows);
  layout.row_sum = place(rows);
  layout.scores = place(block * panel_width);
  layout.probs = place(pairs ? block / 2 * panel_width : 0);
  layout.keys = place(convert ? block * dim : 0);
  layout.values = place(convert ? block * dim : pairs ? block / 2 * dim : 0);
  layout.rows = place(panel_width * dim);
  layout.block_max = place(layout.map_blocks * rows);
  layout.bytes = end;
  return layout;
}

}  // namespace seer
