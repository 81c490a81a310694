// MInference's vertical-slash pattern: the columns and diagonals that the prompt's last queries look at.
//
// Huiqiang Jiang, Yucheng Li, Chengruidong Zhang, Qianhui Wu, Xufang Luo, Surin Ahn, Zhenhua Han, Amir H. Abdi, Dongsheng
// Li, Chin-Yew Lin, Yuqing Yang, Lili Qiu, "MInference 1.0: Accelerating Pre-filling for Long-Context LLMs via Dynamic
// Sparse Attention" (2024), arXiv:2407.02490.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "selection/block_scores.h"

namespace seer {

// The attention of the last `last` queries is added up along verticals (columns) and slashes (diagonals). A block's score is
// that of the best line through it, so that the highest blocks of a whole head (and not of each row) are whole lines in
// descending order. The first and the last visible block of each row have infinity.
//   q [1, num_q_heads, q_len, d], k [1, num_kv_heads, kv_len, d] after RoPE, up to the prompt's end
// Returns float32 [1, num_q_heads, q_blocks, kv_blocks]; what is not visible has no meaning.
at::Tensor minference_scores(const at::Tensor& q, const at::Tensor& k, const BlockGrid& grid,
                             std::int64_t last);

}  // namespace seer
