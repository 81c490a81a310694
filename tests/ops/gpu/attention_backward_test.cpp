// block_sparse_attention_backward on the GPU against the operator in float64 on the CPU, and what must hold whatever that says.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <optional>
#include <ostream>
#include <string>
#include <tuple>
#include <vector>

#include "ops/gpu/gpu_test.h"
#include "seer/ops.h"

namespace seer::test {
namespace {

struct BackwardCase {
  std::string name;
  std::int64_t batch = 1, num_q_heads = 2, num_kv_heads = 1, q_len = 128, kv_len = 128;
  bool is_causal = true;
  std::optional<double> density = std::nullopt;  // of the mask; absent: none
  std::int64_t mask_heads = 0;                   // 0: one for each query head
  bool mask_has_batch = true;
  bool length_major = false;  // [batch, length, heads, head_dim] in memory
  bool grad_lse = true;
  double scale = 0;  // 0: the default
  at::ScalarType dtype = at::kBFloat16;
  std::int64_t head_dim = 128, block_size = 64;
};

std::ostream& operator<<(std::ostream& stream, const BackwardCase& c) {
  return stream << c.name << ": " << c.batch << " x " << c.num_q_heads << "/" << c.num_kv_heads
                << " heads, " << c.q_len << " queries, " << c.kv_len << " keys, head_dim "
                << c.head_dim << ", block " << c.block_size << ", " << c.dtype;
}

using Gradients = std::vector<at::Tensor>;  // of q, k and v

// The tensors of a case, on the CPU, with values that the case's dtype holds exactly.
struct BackwardInputs {
  at::Tensor q, k, v, grad_out, grad_lse;
  std::optional<at::Tensor> mask;
  const BackwardCase& c;

  explicit BackwardInputs(const BackwardCase& problem) : c(problem) {
    at::manual_seed(static_cast<std::uint64_t>(c.q_len * 1000 + c.kv_len));
    q = random(c.num_q_heads, c.q_len) * 2;
    k = random(c.num_kv_heads, c.kv_len);
    v = random(c.num_kv_heads, c.kv_len);
    grad_out = random(c.num_q_heads, c.q_len);
    grad_lse = at::randn({c.batch, c.num_q_heads, c.q_len});
    if (c.density) {
      const auto blocks = [this](std::int64_t length) {
        return (length + c.block_size - 1) / c.block_size;
      };
      mask = at::rand({c.mask_has_batch ? c.batch : 1,
                       c.mask_heads == 0 ? c.num_q_heads : c.mask_heads, blocks(c.q_len),
                       blocks(c.kv_len)})
                 .lt(*c.density);
    }
  }

  // In float64: the forward, then the gradients. Returns out and lse too.
  std::pair<Gradients, std::vector<at::Tensor>> expected() const {
    const auto exact = [](const at::Tensor& tensor) { return tensor.to(at::kDouble); };
    const auto [out, lse] = block_sparse_attention(exact(q), exact(k), exact(v), mask, c.block_size,
                                                   c.is_causal, scale());
    auto [grad_q, grad_k, grad_v] = block_sparse_attention_backward(
        exact(grad_out), given_grad_lse(), exact(q), exact(k), exact(v), out, lse, mask,
        c.block_size, c.is_causal, scale());
    return {{grad_q, grad_k, grad_v}, {out, lse}};
  }
  Gradients on_gpu(const std::vector<at::Tensor>& forward) const {
    const auto device = [](const at::Tensor& tensor) { return tensor.to(at::kCUDA); };
    std::optional<at::Tensor> device_mask, device_grad_lse;
    if (mask) device_mask = device(*mask);
    if (c.grad_lse) device_grad_lse = device(grad_lse);
    auto [grad_q, grad_k, grad_v] = block_sparse_attention_backward(
        device(grad_out), device_grad_lse, device(q), device(k), device(v),
        device(laid_out(forward[0].to(c.dtype))), device(forward[1]), device_mask, c.block_size,
        c.is_causal, scale());
    return {grad_q, grad_k, grad_v};
  }

 private:
  at::Tensor laid_out(const at::Tensor& tensor) const {
    return c.length_major ? tensor.transpose(1, 2).contiguous().transpose(1, 2) : tensor;
  }
  at::Tensor random(std::int64_t heads, std::int64_t length) const {
    return laid_out(at::randn({c.batch, heads, length, c.head_dim}).to(c.dtype));
  }
  std::optional<at::Tensor> given_grad_lse() const {
    return c.grad_lse ? std::optional(grad_lse) : std::nullopt;
  }
  std::optional<double> scale() const {
    return c.scale == 0 ? std::nullopt : std::optional(c.scale);
  }
};

// A query that sees no key (its lse says so) and a key that no query sees (so its grad_v is 0) get zeros.
void expect_zeros(const Gradients& actual, const Gradients& expected, const at::Tensor& lse) {
  const at::Tensor blind = lse.eq(-std::numeric_limits<double>::infinity()).unsqueeze(-1);
  const at::Tensor unseen = expected[2].eq(0).all(-1, /*keepdim=*/true);
  for (std::size_t i = 0; i < 3; ++i) {
    const at::Tensor nonzero = actual[i].cpu().ne(0).logical_and(i == 0 ? blind : unseen);
    EXPECT_FALSE(nonzero.any().item<bool>()) << "gradient " << i;
  }
}

void expect_close(const BackwardCase& c, const Gradients& actual, const Gradients& expected) {
  // P and dS are rounded before they are multiplied, and the results are: each by half a unit of the last place.
  const double most = c.dtype == at::kBFloat16 ? 1e-2 : 1.5e-3;
  const char* const names[] = {"grad_q", "grad_k", "grad_v"};
  for (std::size_t i = 0; i < 3; ++i) {
    SCOPED_TRACE(testing::Message() << names[i] << " of " << c);
    ASSERT_EQ(actual[i].scalar_type(), c.dtype);
    ASSERT_EQ(actual[i].sizes(), expected[i].sizes());
    if (actual[i].numel() == 0) continue;
    const at::Tensor values = actual[i].cpu().to(at::kDouble);
    EXPECT_TRUE(values.isfinite().all().item<bool>());
    // Where a query sees one key, dP - delta is a difference of equal sums: 0, but for the rounding of float32.
    const double size = expected[i].norm().item<double>() +
                        1e-3 * std::sqrt(static_cast<double>(expected[i].numel()));
    EXPECT_LE((values - expected[i]).norm().item<double>(), most * size);
  }
}

std::vector<BackwardCase> backward_cases() {
  std::vector<BackwardCase> shapes;
  for (const std::int64_t length : {1, 63, 64, 65, 128, 129, 257}) {
    for (const bool causal : {true, false}) {
      BackwardCase c = {.name = "length_" + std::to_string(length) + (causal ? "_causal" : "_full"),
                        .q_len = length,
                        .kv_len = length,
                        .is_causal = causal};
      shapes.push_back(c);
      c.name += "_mask";
      c.density = 0.6;
      shapes.push_back(c);
    }
  }
  shapes.push_back({.name = "no_queries", .q_len = 0, .kv_len = 64});
  shapes.push_back({.name = "no_keys", .q_len = 65, .kv_len = 0});
  shapes.push_back({.name = "no_batch", .batch = 0});
  shapes.push_back({.name = "one_query", .q_len = 1, .kv_len = 513, .density = 0.5});
  shapes.push_back({.name = "more_keys", .q_len = 130, .kv_len = 500, .density = 0.5});
  shapes.push_back({.name = "fewer_keys", .q_len = 300, .kv_len = 70, .density = 0.7});
  shapes.push_back({.name = "fewer_keys_dense", .q_len = 300, .kv_len = 70});
  shapes.push_back({.name = "nothing_kept", .q_len = 300, .kv_len = 300, .density = 0});
  shapes.push_back({.name = "shared_mask",
                    .batch = 2,
                    .num_q_heads = 6,
                    .num_kv_heads = 2,
                    .q_len = 400,
                    .kv_len = 400,
                    .density = 0.4,
                    .mask_heads = 1,
                    .mask_has_batch = false,
                    .length_major = true});
  shapes.push_back({.name = "mask_of_groups",
                    .batch = 2,
                    .num_q_heads = 6,
                    .num_kv_heads = 2,
                    .q_len = 400,
                    .kv_len = 500,
                    .density = 0.4,
                    .mask_heads = 2,
                    .grad_lse = false});
  for (const std::int64_t ratio : {1, 3, 4, 7, 8}) {
    shapes.push_back({.name = "heads_per_kv_head_" + std::to_string(ratio),
                      .batch = 2,
                      .num_q_heads = 2 * ratio,
                      .num_kv_heads = 2,
                      .q_len = 200,
                      .kv_len = 250,
                      .density = 0.5,
                      .length_major = ratio % 2 == 1});
  }
  shapes.push_back({.name = "negative_scale", .q_len = 200, .kv_len = 200, .scale = -0.05});
  // One column of keys has more work than its share, and is split.
  shapes.push_back({.name = "long_column",
                    .num_q_heads = 8,
                    .num_kv_heads = 1,
                    .q_len = 2560,
                    .kv_len = 130,
                    .is_causal = false,
                    .density = 0.9,
                    .grad_lse = false});

  std::vector<BackwardCase> cases;
  for (BackwardCase c : shapes) {
    const std::string name = c.name;
    for (const at::ScalarType dtype : {at::kBFloat16, at::kHalf}) {
      for (const std::int64_t head_dim : {64, 128}) {
        for (const std::int64_t block_size : {64, 128}) {
          c.dtype = dtype;
          c.head_dim = head_dim;
          c.block_size = block_size;
          c.name = name + (dtype == at::kHalf ? "_half" : "_bfloat16") + "_d" +
                   std::to_string(head_dim) + "_b" + std::to_string(block_size);
          cases.push_back(c);
        }
      }
    }
  }
  return cases;
}

class GpuAttentionBackward : public GpuTest, public testing::WithParamInterface<BackwardCase> {};

TEST_P(GpuAttentionBackward, AgreesWithFloat64AndGivesTheSameBitsTwice) {
  const BackwardInputs inputs(GetParam());
  const auto [expected, forward] = inputs.expected();
  const Gradients actual = inputs.on_gpu(forward);
  expect_close(GetParam(), actual, expected);
  expect_zeros(actual, expected, forward[1]);
  const Gradients again = inputs.on_gpu(forward);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_TRUE(at::equal(actual[i], again[i]));
}

std::string test_name(const testing::TestParamInfo<BackwardCase>& info) {
  return info.param.name;
}

INSTANTIATE_TEST_SUITE_P(Shapes, GpuAttentionBackward, testing::ValuesIn(backward_cases()),
                         test_name);

class GpuAttentionGradients : public GpuTest {
 protected:
  static BackwardCase sparse_case() {
    return {.name = "sparse",
            .num_q_heads = 4,
            .num_kv_heads = 2,
            .q_len = 650,
            .kv_len = 650,
            .density = 0.4};
  }
};

TEST_F(GpuAttentionGradients, BlocksThatAreNotKeptAreNotRead) {
  const BackwardCase problem = sparse_case();
  BackwardInputs inputs(problem);
  inputs.mask->select(-1, 3).fill_(false);
  inputs.mask->select(-2, 5).fill_(false);
  const auto [expected, forward] = inputs.expected();
  const Gradients clean = inputs.on_gpu(forward);
  constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
  for (at::Tensor* tensor : {&inputs.k, &inputs.v}) tensor->narrow(2, 3 * 64, 64).fill_(kNaN);
  for (at::Tensor* tensor : {&inputs.q, &inputs.grad_out}) {
    tensor->narrow(2, 5 * 64, 64).fill_(kNaN);
  }
  const Gradients poisoned = inputs.on_gpu(forward);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_TRUE(at::equal(clean[i], poisoned[i])) << i;
}

TEST_F(GpuAttentionGradients, AutogradTakesThemFromTheOperator) {
  const BackwardCase problem = sparse_case();
  const BackwardInputs inputs(problem);
  const auto [expected, forward] = inputs.expected();
  std::vector<at::Tensor> leaves;
  for (const at::Tensor& tensor : {inputs.q, inputs.k, inputs.v}) {
    leaves.push_back(tensor.to(at::kCUDA).set_requires_grad(true));
  }
  const auto [out, lse] = block_sparse_attention(leaves[0], leaves[1], leaves[2],
                                                 inputs.mask->to(at::kCUDA), problem.block_size);
  // A row that sees nothing has an lse of -infinity: it must not reach the loss.
  const at::Tensor finite = lse.masked_fill(lse.isinf(), 0);
  ((out * inputs.grad_out.to(at::kCUDA)).sum() + (finite * inputs.grad_lse.to(at::kCUDA)).sum())
      .backward();
  Gradients actual;
  for (const at::Tensor& leaf : leaves) actual.push_back(leaf.grad());
  expect_close(problem, actual, expected);
}

TEST_F(GpuAttentionGradients, ExpandedGradientsAreCopied) {
  BackwardCase problem = sparse_case();
  problem.grad_lse = false;
  BackwardInputs inputs(problem);
  inputs.grad_out = at::ones({1, 1, 1, 1}, inputs.q.options()).expand_as(inputs.q);
  const auto [expected, forward] = inputs.expected();
  const at::Tensor one = at::ones({1, 1, 1, 1}, inputs.q.options().device(at::kCUDA));
  const auto device = [](const at::Tensor& tensor) { return tensor.to(at::kCUDA); };
  const auto [grad_q, grad_k, grad_v] = block_sparse_attention_backward(
      one.expand_as(inputs.q), std::nullopt, device(inputs.q), device(inputs.k), device(inputs.v),
      device(forward[0].to(problem.dtype)), device(forward[1]), device(*inputs.mask),
      problem.block_size);
  expect_close(problem, {grad_q, grad_k, grad_v}, expected);
}

}  // namespace
}  // namespace seer::test
