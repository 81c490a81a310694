// How the work on a gate's scores is cut: plain numbers, for both sides.
#pragma once

#include <cstdint>

namespace seer::sm90 {

// One multiplies while the other chooses.
constexpr int kScoresBlocksOfMultiprocessor = 2;

// A tile is `rows` query blocks of one head against all key blocks that they see. Its query representatives, `per_block`
// of each row, are the columns of a product whose rows are 64 key blocks.
struct GateScoresTile {
  int rows;
  int per_block;
  int columns() const { return rows * per_block; }
};

// Which tiles a thread block takes. Tiles are numbered from the most work to the least; rounds of one tile a multiprocessor
// go there and back, so that each multiprocessor gets about the same work.
struct GateScoresSchedule {
  int num_tiles;            // of all heads
  int tiles_of_head;
  int num_multiprocessors;

  // The tile of thread block `block` in its turn `turn`; not below num_tiles: there is none, nor in later turns.
#ifdef __CUDACC__
  __host__ __device__
#endif
      int
      tile_of(int block, int turn) const {
    const int place = block % num_multiprocessors;
    const int rank = block / num_multiprocessors;
    const int round =
        turn * kScoresBlocksOfMultiprocessor +
        (turn % 2 == 0 ? rank : kScoresBlocksOfMultiprocessor - 1 - rank);
    return round * num_multiprocessors + (round % 2 == 0 ? place : num_multiprocessors - 1 - place);
  }
};

}  // namespace seer::sm90
