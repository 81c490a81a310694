// Block logits by LibTorch's products, which serve training on a GPU, against the CPU's loops: logits and gradients.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "base/ceil_div.h"
#include "gate/block_products.h"
#include "seer/gate.h"

namespace seer {
namespace {

struct Case {
  std::int64_t q_len, kv_len, q_tokens, k_tokens;
};

TEST(BlockProducts, AreThoseOfTheLoops) {
  at::manual_seed(1);
  constexpr std::int64_t kBlock = 64;
  for (const Case& one : {Case{1, 1, 64, 64}, Case{65, 65, 16, 64}, Case{130, 300, 16, 16},
                          Case{200, 201, 64, 32}, Case{64, 640, 4, 64}}) {
    at::Tensor q = at::randn({2, 4, ceil_div(one.q_len, one.q_tokens), 8}, at::kDouble);
    at::Tensor k = at::randn({2, 2, ceil_div(one.kv_len, one.k_tokens), 8}, at::kDouble);
    q.set_requires_grad(true);
    k.set_requires_grad(true);
    const at::Tensor logits =
        max_block_logits(q, k, one.q_len, one.kv_len, kBlock, one.q_tokens, one.k_tokens, 0.25);
    const BlockPairs pairs{
        one.q_len, one.kv_len, kBlock, kBlock / one.q_tokens, kBlock / one.k_tokens, 0.25};
    const LargestProducts largest = largest_products(pairs, q.detach(), k.detach(), true);
    EXPECT_TRUE(at::allclose(largest.logits, logits.detach(), 1e-12, 1e-12)) << one.q_len;

    const at::Tensor grad = at::randn(logits.sizes(), at::kDouble);
    (logits.masked_fill(logits.isinf(), 0.0) * grad).sum().backward();
    const ProductGradients gradients =
        product_gradients(pairs, q.detach(), k.detach(), grad, largest.pair_of);
    EXPECT_TRUE(at::allclose(gradients.q_reps, q.grad(), 1e-10, 1e-12)) << one.q_len;
    EXPECT_TRUE(at::allclose(gradients.k_reps, k.grad(), 1e-10, 1e-12)) << one.q_len;
  }
}

}  // namespace
}  // namespace seer
