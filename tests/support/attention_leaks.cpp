// That nothing of a block reaches the rows that do not read it.
#include <gtest/gtest.h>

#include <algorithm>

#include "support/attention_case.h"

namespace seer::test {

bool reads_block(const AttentionCase& problem, const AttentionInputs& inputs, std::int64_t batch,
                 std::int64_t q_head, std::int64_t q_block, std::int64_t kv_block) {
  return inputs.keeps(batch, q_head, q_block, kv_block) &&
         problem.block_is_visible(q_block, kv_block);
}

void expect_unaffected(const AttentionCase& problem, const AttentionInputs& inputs,
                       std::int64_t kv_block, const AttentionResult& clean,
                       const AttentionResult& dirty) {
  const std::int64_t width = problem.head_dim;
  for (std::int64_t b = 0; b < problem.batch; ++b) {
    for (std::int64_t h = 0; h < problem.num_q_heads; ++h) {
      for (std::int64_t row = 0; row < problem.q_len; ++row) {
        if (reads_block(problem, inputs, b, h, row / problem.block_size, kv_block)) continue;
        const std::int64_t index = (b * problem.num_q_heads + h) * problem.q_len + row;
        ASSERT_EQ(clean.lse.at(index), dirty.lse.at(index))
            << "lse of batch " << b << " head " << h << " query " << row;
        for (std::int64_t d = 0; d < width; ++d) {
          ASSERT_EQ(clean.out.at(index * width + d), dirty.out.at(index * width + d))
              << "out of batch " << b << " head " << h << " query " << row;
        }
      }
      if (!problem.block_map) continue;
      for (std::int64_t q_block = 0; q_block < problem.num_q_blocks(); ++q_block) {
        if (reads_block(problem, inputs, b, h, q_block, kv_block)) continue;
        const std::int64_t first =
            ((b * problem.num_q_heads + h) * problem.num_q_blocks() + q_block) *
            problem.num_kv_blocks();
        for (std::int64_t block = 0; block < problem.num_kv_blocks(); ++block) {
          ASSERT_EQ(clean.block_map.at(first + block), dirty.block_map.at(first + block))
              << "block_map of batch " << b << " head " << h << " query block " << q_block;
        }
      }
    }
  }
}

void poison_block(const AttentionCase& problem, HostTensor& tensor, std::int64_t kv_block,
                  double value) {
  const std::int64_t end = std::min((kv_block + 1) * problem.block_size, problem.kv_len);
  for (std::int64_t b = 0; b < tensor.batch(); ++b) {
    for (std::int64_t h = 0; h < tensor.heads(); ++h) {
      for (std::int64_t row = kv_block * problem.block_size; row < end; ++row) {
        for (std::int64_t d = 0; d < tensor.head_dim(); ++d) tensor.set(b, h, row, d, value);
      }
    }
  }
}

}  // namespace seer::test
