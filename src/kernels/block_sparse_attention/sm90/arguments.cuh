// What the host hands to the Hopper kernel.
#pragma once

#include <cuda.h>

#include <cstdint>

namespace seer::sm90 {

struct Arguments {
  CUtensorMap q, k, v;
  void* out;
  std::int64_t out_batch_stride, out_head_stride, out_row_stride;  // elements
  float* lse;                                                      // [batch, num_q_heads, q_len]

  int batch, num_q_heads, num_kv_heads, q_len, kv_len;
  int num_q_blocks, num_kv_blocks;
  int heads_per_kv_head;
  int causal_shift;  // query i sees keys j <= i + causal_shift; beyond all keys where not causal
  float scale_log2;  // of q.k, times log2(e), so that probabilities are powers of two

  // Query blocks in the order of work, [num_tiles]: (batch * num_q_heads + head) * num_q_blocks + block. Null: computed,
  // see tile_at().
  const int* order;
  int num_tiles;
  int* next_tile;  // 0 at the start; how many are taken

  // Null: every block that can be seen. Else of each mask row the kept blocks that can be seen, bit b % 32 of word b / 32,
  // and their number.
  const std::uint32_t* kept;  // [mask batch, mask heads, num_q_blocks, kept_words]
  const int* kept_count;      // [mask batch, mask heads, num_q_blocks]
  int kept_words;
  int mask_heads_per_group;  // query heads that share a mask head
  int mask_heads;
  bool mask_has_batch;

  // Null: not wanted. Else the block map, with blocks of `map_block` tokens.
  float* block_map;  // [batch, num_q_heads, map q blocks, map kv blocks]
  int map_block, map_q_blocks, map_kv_blocks;
  std::uint16_t* row_maxima;  // block_map.cuh, [thread blocks][row_maxima_tiles][256] of float16
  int row_maxima_tiles;
};

// A query block of one head.
struct Tile {
  int batch, head, q_block;
};

__device__ __forceinline__ Tile tile_of(const Arguments& a, int id) {
  const int row = id / a.num_q_blocks;
  return {row / a.num_q_heads, row % a.num_q_heads, id % a.num_q_blocks};
}

// The order of work without lists. All heads of a key/value head together, so that its keys and values stay in the L2
// cache; within them the last queries first, which see the most keys. Returns the tile's number.
__device__ __forceinline__ int tile_at(const Arguments& a, int position) {
  const int tiles = a.heads_per_kv_head * a.num_q_blocks;  // of a key/value head
  const int q_block = a.num_q_blocks - 1 - position % tiles / a.heads_per_kv_head;
  const int head = position / tiles * a.heads_per_kv_head + position % a.heads_per_kv_head;
  return head * a.num_q_blocks + q_block;
}

__device__ __forceinline__ int mask_row(const Arguments& a, const Tile& tile) {
  const int batch = a.mask_has_batch ? tile.batch : 0;
  return (batch * a.mask_heads + tile.head / a.mask_heads_per_group) * a.num_q_blocks +
         tile.q_block;
}

// How many key blocks the query block sees, from the first.
template <int kBlock>
__device__ __forceinline__ int visible_blocks(const Arguments& a, int q_block) {
  const int last_row = min((q_block + 1) * kBlock, a.q_len) - 1;
  const int last_key = min(last_row + a.causal_shift, a.kv_len - 1);
  return last_key < 0 ? 0 : last_key / kBlock + 1;
}

}  // namespace seer::sm90
