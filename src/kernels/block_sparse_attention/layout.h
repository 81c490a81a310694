// How the work is cut into tiles, and how one tile's scratch memory is laid out.
//
// A tile is one query block of a few query heads that share a key/value head, so that a key block
// is fetched (and, where needed, converted) once for all of them. Query rows lie along vector
// lanes, in "panels" of `panel_width` rows: row maxima, sums and rescaling are vertical operations,
// and keys and values are read as scalars where they lie. Only q is transposed, once a tile.
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
  std::int64_t heads;  // query heads a tile at most; the last tile of a group may have fewer
  std::int64_t tiles_per_group;  // ceil(query heads a key/value head / heads)
  std::int64_t head_panels;      // ceil(block_size / panel_width)
  std::int64_t
      dim_units;  // 32-bit units along head_dim: head_dim floats or ceil(head_dim / 2) pairs
  std::int64_t map_blocks;  // key blocks whose row maxima are kept; 0 without a block map
  // Byte offsets into the scratch, each a multiple of 64.
  std::size_t q_panels;    // [heads][head_panels][dim_units][panel_width] 32-bit units
  std::size_t out_panels;  // [heads][head_panels][head_dim][panel_width] float, not yet divided by
                           // the row sums
  std::size_t row_max;     // [heads][head_panels][panel_width] float: running maxima, base 2
  std::size_t row_sum;     // [heads][head_panels][panel_width] float
  std::size_t scores;      // [block_size][panel_width] float, of one panel
  std::size_t probs;  // [block_size / 2][panel_width] pairs of bfloat16; empty with DotKind::kFloat
  std::size_t keys;   // [block_size][head_dim] float: keys widened from bfloat16; else empty
  std::size_t
      values;  // [block_size][head_dim] float, or [block_size / 2][head_dim] pairs; else empty
  std::size_t rows;       // [panel_width][head_dim] float: staging for transposes and conversions
  std::size_t block_max;  // [heads][map_blocks][head_panels][panel_width] float: row maxima a key
                          // block, base 2
  std::size_t bytes;
};

// Pure: the same parameters give the same layout.
TileLayout tile_layout(const AttentionParams& params, std::int64_t panel_width, DotKind dot);

inline std::int64_t num_tiles(const AttentionParams& params, const TileLayout& layout) {
  return params.batch * params.num_kv_heads * layout.tiles_per_group *
         ceil_div(params.q_len, params.block_size);
}

}  // namespace seer
