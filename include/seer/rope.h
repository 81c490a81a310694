// Rotary position embeddings: default, linear, llama3 and yarn.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "seer/config.h"

namespace seer {

struct Rope {
  at::Tensor inv_freq;           // float32 [head_dim / 2]: radians a position
  double attention_scale = 1.0;  // multiplies cos and sin
};

// Steps and roundings are those of transformers' modeling_rope_utils: at position 32,768 one unit in the last place of
// a frequency is an angle of 0.002, so that "the same formula" is not enough.
Rope make_rope(const RopeConfig& config, std::int64_t head_dim);

struct RopeTable {
  at::Tensor cos, sin;  // float32 [positions, head_dim / 2], attention_scale applied
};

// Row i is for position first_position + i * step.
RopeTable rope_table(const Rope& rope, std::int64_t first_position, std::int64_t num_positions,
                     std::int64_t step = 1);

// Writes x [length, heads, head_dim], turned, to out of the same shape and any strides (not overlapping x); row i is
// turned by row i of the table. Pairs are (j, j + head_dim / 2). Computed in float32.
void apply_rope(const at::Tensor& x, const RopeTable& table, const at::Tensor& out);

}  // namespace seer
