#include "bench/kernels/attention_backward_check.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <random>

namespace seer::bench {
namespace {

constexpr int kRandomBlocks = 3;

// Rows [first, last) of one head.
at::Tensor wide(const at::Tensor& tensor, std::int64_t batch, std::int64_t head, std::int64_t first,
                std::int64_t last) {
  return tensor[batch][head].slice(0, first, last).cpu().to(at::kDouble);
}

// A range of tokens that is one block.
struct Tokens {
  std::int64_t block, begin, end;
};
Tokens tokens_of(std::int64_t block, std::int64_t block_size, std::int64_t length) {
  return {block, block * block_size, std::min((block + 1) * block_size, length)};
}

// Probabilities and the gradients of scores of some queries and some keys, [queries, keys].
struct Scores {
  at::Tensor probabilities, gradients;
};

class Plain {
 public:
  Plain(const AttentionProblem& problem, const at::Tensor& block_mask,
        const AttentionGradient& gradient)
      : problem_(problem), gradient_(gradient) {
    if (block_mask.defined()) {
      mask_ = block_mask.cpu();
    } else {
      mask_ = at::ones({1, 1, problem.blocks.num_q_blocks(), problem.blocks.num_kv_blocks()},
                       at::kBool);
    }
  }

  Difference of_queries(std::int64_t batch, std::int64_t head, std::int64_t q_block) const {
    const CausalBlocks& blocks = problem_.blocks;
    const Tokens rows = tokens_of(q_block, blocks.block_size, blocks.q_len);
    const Tokens keys = {0, 0, std::min(rows.end + blocks.kv_len - blocks.q_len, blocks.kv_len)};
    const at::Tensor k = wide(problem_.k, batch, kv_head(head), keys.begin, keys.end);
    return difference_of(wide(gradient_.q, batch, head, rows.begin, rows.end),
                         at::matmul(scores(batch, head, rows, keys).gradients, k));
  }

  Difference of_keys(std::int64_t batch, std::int64_t of_head, std::int64_t kv_block) const {
    const CausalBlocks& blocks = problem_.blocks;
    const Tokens keys = tokens_of(kv_block, blocks.block_size, blocks.kv_len);
    at::Tensor grad_k = at::zeros({keys.end - keys.begin, problem_.k.size(3)}, at::kDouble);
    at::Tensor grad_v = at::zeros_like(grad_k);
    const std::int64_t group = problem_.q.size(1) / problem_.k.size(1);
    for (std::int64_t head = of_head * group; head < (of_head + 1) * group; ++head) {
      for (std::int64_t q_block = 0; q_block < blocks.num_q_blocks(); ++q_block) {
        if (kv_block >= blocks.num_visible(q_block)) continue;
        const Tokens rows = tokens_of(q_block, blocks.block_size, blocks.q_len);
        const Scores part = scores(batch, head, rows, keys);
        grad_k += at::matmul(part.gradients.transpose(0, 1),
                             wide(problem_.q, batch, head, rows.begin, rows.end));
        grad_v += at::matmul(part.probabilities.transpose(0, 1),
                             wide(gradient_.grad_out, batch, head, rows.begin, rows.end));
      }
    }
    Difference worst =
        difference_of(wide(gradient_.k, batch, of_head, keys.begin, keys.end), grad_k);
    raise_to(worst, difference_of(wide(gradient_.v, batch, of_head, keys.begin, keys.end), grad_v));
    return worst;
  }

 private:
  std::int64_t kv_head(std::int64_t head) const {
    return head / (problem_.q.size(1) / problem_.k.size(1));
  }

  // `rows` is one query block.
  Scores scores(std::int64_t batch, std::int64_t head, const Tokens& rows,
                const Tokens& keys) const {
    const CausalBlocks& blocks = problem_.blocks;
    const double scale = 1 / std::sqrt(static_cast<double>(problem_.q.size(3)));
    const at::Tensor q = wide(problem_.q, batch, head, rows.begin, rows.end);
    const at::Tensor k = wide(problem_.k, batch, kv_head(head), keys.begin, keys.end);
    const at::Tensor v = wide(problem_.v, batch, kv_head(head), keys.begin, keys.end);
    const at::Tensor grad_out = wide(gradient_.grad_out, batch, head, rows.begin, rows.end);
    const at::Tensor out = wide(gradient_.out, batch, head, rows.begin, rows.end);
    const at::Tensor lse = wide(gradient_.lse, batch, head, rows.begin, rows.end).unsqueeze(1);

    const at::Tensor places = at::arange(rows.begin, rows.end).unsqueeze(1);
    const at::Tensor tokens = at::arange(keys.begin, keys.end);
    const at::Tensor kept =
        mask_[batch % mask_.size(0)][head / (problem_.q.size(1) / mask_.size(1))][rows.block];
    const at::Tensor hidden =
        tokens.gt(places + (blocks.kv_len - blocks.q_len))
            .logical_or(kept.index({tokens.floor_divide(blocks.block_size)}).logical_not());
    const at::Tensor probabilities =
        (scale * at::matmul(q, k.transpose(0, 1)) - lse).exp().masked_fill(hidden, 0);
    const at::Tensor delta = (grad_out * out).sum(-1, /*keepdim=*/true);
    return {probabilities,
            scale * probabilities * (at::matmul(grad_out, v.transpose(0, 1)) - delta)};
  }

  const AttentionProblem& problem_;
  const AttentionGradient& gradient_;
  at::Tensor mask_;
};

at::Tensor summed_over_groups(const at::Tensor& gradient, std::int64_t heads) {
  if (gradient.size(1) == heads) return gradient;
  return gradient.to(at::kFloat).unflatten(1, {heads, gradient.size(1) / heads}).sum(2);
}

}  // namespace

Difference compare_gradients(const AttentionGradient& actual, const AttentionGradient& expected) {
  const std::int64_t kv_heads = std::min(actual.k.size(1), expected.k.size(1));
  Difference worst = compare_heads(actual.q, expected.q);
  raise_to(worst, compare_heads(summed_over_groups(actual.k, kv_heads),
                                summed_over_groups(expected.k, kv_heads)));
  raise_to(worst, compare_heads(summed_over_groups(actual.v, kv_heads),
                                summed_over_groups(expected.v, kv_heads)));
  return worst;
}

Difference compare_some_gradients(const AttentionProblem& problem, const at::Tensor& block_mask,
                                  const AttentionGradient& gradient, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto draw = [&](std::int64_t count) {
    return std::uniform_int_distribution<std::int64_t>(0, count - 1)(random);
  };
  const auto block_of = [&](int index, std::int64_t count) {
    return index == 0 ? 0 : index == 1 ? count - 1 : draw(count);
  };
  const Plain plain(problem, block_mask, gradient);
  Difference worst;
  for (int index = 0; index < kRandomBlocks + 2; ++index) {
    const std::int64_t batch = draw(problem.q.size(0));
    raise_to(worst, plain.of_queries(batch, draw(problem.q.size(1)),
                                     block_of(index, problem.blocks.num_q_blocks())));
    raise_to(worst, plain.of_keys(batch, draw(problem.k.size(1)),
                                  block_of(index, problem.blocks.num_kv_blocks())));
  }
  return worst;
}

}  // namespace seer::bench
