// What crosses from the operators to the pooling kernels: plain data.
#pragma once

#include <cstdint>

#include "base/tensor_layout.h"

namespace seer {

struct PoolBlocksParams {
  const void* x = nullptr;  // [batch, heads, length, head_dim]
  // [batch, heads, ceil(length / block_size), kinds * head_dim], contiguous; kinds in the order
  // max, min, avg
  void* out = nullptr;
  Strides x_strides;
  Element element = Element::kFloat32;  // of x and out

  std::int64_t batch = 0;
  std::int64_t heads = 0;
  std::int64_t length = 0;
  std::int64_t head_dim = 0;
  std::int64_t block_size = 64;
  bool max = false;
  bool min = false;
  bool avg = false;
};

}  // namespace seer
