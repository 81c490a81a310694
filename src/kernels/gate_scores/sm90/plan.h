// What the scores' kernel is told: plain numbers, for both sides.
#pragma once

#include <cstdint>

#include "kernels/select_blocks/params.h"

namespace seer::sm90 {

// Thread blocks of a multiprocessor: one multiplies while the other chooses.
constexpr int kScoresBlocksOfMultiprocessor = 2;

// What becomes of the logits of a tile.
enum class ScoresOutput {
  kLogits,     // they are the result
  kTopBlocks,  // the highest of a row are kept
  kThreshold,  // of a row's softmax, as of kMass
  kMass,
};

struct GateScoresPlan {
  const void* q_reps;  // bfloat16
  std::int64_t q_batch_stride, q_head_stride, q_row_stride;
  int q_per_block;  // representatives
  int last_q_rep;

  int key_ranks;                             // representatives of a key block
  int key_rank_rows;                         // rows of k_reps from one rank to the next
  int heads, heads_per_key_head, all_heads;  // all: of all batches
  int q_blocks, kv_blocks;
  int visible_of_first;
  float scale;

  // kLogits: [all_heads, q_blocks, logits_stride]; else the workspace, [thread blocks, rows of a tile, logits_stride].
  float* logits;
  std::int64_t logits_stride;

  std::uint8_t* mask;       // [all_heads, q_blocks, kv_blocks]
  const float* thresholds;  // [heads] or null
  int top_blocks;
  float threshold;
  double mass;
  int sink, local;
  int first_dense_row;  // and those after it keep all they see

  // A tile is `rows` query blocks of one head against all key blocks that they see. Tiles are numbered from the most work
  // to the least.
  int tiles_of_head;
  int num_tiles;
  int num_multiprocessors;

  // The tile of thread block `block` in its turn `turn`; not below num_tiles: there is none, nor in later turns. Rounds of
  // one tile a multiprocessor go there and back, so that each multiprocessor gets about the same work.
#ifdef __CUDACC__
  __host__ __device__
#endif
      int
      tile_of(int block, int turn) const {
    const int place = block % num_multiprocessors;
    const int rank = block / num_multiprocessors;
    const int round = turn * kScoresBlocksOfMultiprocessor +
                      (turn % 2 == 0 ? rank : kScoresBlocksOfMultiprocessor - 1 - rank);
    return round * num_multiprocessors + (round % 2 == 0 ? place : num_multiprocessors - 1 - place);
  }
};

}  // namespace seer::sm90
