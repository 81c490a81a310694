// What crosses from the operators to the kernels that turn and pool in one pass: plain data.
#pragma once

#include "kernels/row_layers/params.h"

namespace seer {

// Turns x as RopeParams says, and pools what it was before over blocks of rows.
struct RopeAndPoolParams {
  RopeParams rope;
  // [heads, ceil(rows / block_size), kinds * head_dim], contiguous, of rope.element; kinds in the order max, min, avg
  void* pooled = nullptr;
  std::int64_t block_size = 64;  // a power of two
  bool max = false;
  bool min = false;
  bool avg = false;
};

}  // namespace seer
