// What gates compute, against plain loops.
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "gate_case.h"
#include "plain_gate.h"
#include "seer/gate.h"
#include "support/threads_guard.h"

namespace seer {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

GateConfig config_of(const std::string& design, const ModelConfig& model, std::int64_t block = 64,
                     std::int64_t width = 0, bool force_double = false) {
  return default_gate_config(design, model, block, width, force_double);
}

std::unique_ptr<Gate> random_gate(const GateConfig& config, const ModelConfig& model,
                                  std::uint64_t seed = 1) {
  auto gate = make_gate(config, model);
  at::manual_seed(seed);
  for (const GateParameter& parameter : gate->parameters())
    at::Tensor(parameter.value).copy_(at::randn_like(parameter.value) * 0.5);
  return gate;
}

at::Tensor logits_of(const Gate& gate, const at::Tensor& q, const at::Tensor& k) {
  const std::int64_t past = k.size(2) - q.size(2);
  return gate.block_logits(gate.query_representatives(q, past), gate.key_representatives(k, 0),
                           q.size(2), k.size(2));
}

// float32 sums of some hundred terms and float32 frequencies; logits are of size 1 to 10.
void expect_close(const at::Tensor& logits, const at::Tensor& expected, const std::string& what) {
  ASSERT_EQ(logits.sizes(), expected.sizes()) << what;
  EXPECT_TRUE(at::allclose(logits.to(at::kDouble), expected, 1e-3, 2e-3))
      << what << "\nlargest difference "
      << (logits.to(at::kDouble) - expected).nan_to_num(0, 0, 0).abs().max().item<double>();
  // allclose takes equal infinities for close; -inf must stand exactly where it is expected.
  EXPECT_TRUE(at::equal(logits == -kInfinity, expected == -kInfinity)) << what;
}

void expect_matches_loops(const GateConfig& config, const ModelConfig& model, std::int64_t batch,
                          std::int64_t q_len, std::int64_t kv_len) {
  const auto gate = random_gate(config, model);
  const auto input = test::random_input(model, batch, q_len, kv_len);
  expect_close(
      logits_of(*gate, input.q, input.k), test::plain_block_logits(*gate, model, input.q, input.k),
      config.design + " q_len " + std::to_string(q_len) + " kv_len " + std::to_string(kv_len));
}

TEST(GateFormula, AllPublishedDesigns) {
  const ModelConfig model = test::small_model(4, 2);
  for (const std::string& design : published_gate_designs())
    expect_matches_loops(config_of(design, model, 16), model, 2, 70, 70);
}

TEST(GateFormula, FinerDesigns) {
  const ModelConfig model = test::small_model(4, 2);
  for (const char* design :
       {"Qavg16_Kmaxminavg", "Qavg4_Kmaxminavg16", "Qavg1_Kavg", "Qavg1_Kavg16", "Qmaxmin2_Kmin8",
        "Qavg_Kmaxavg32", "Qavg64_Kmaxminavg64"}) {
    for (const std::int64_t length : {1, 63, 64, 65, 200})
      expect_matches_loops(config_of(design, model), model, 1, length, length);
  }
}

TEST(GateFormula, HeadRatiosAndLengths) {
  for (const std::int64_t ratio : {1, 3, 4, 7}) {
    const ModelConfig model = test::small_model(2 * ratio, 2);
    for (const std::int64_t length : {1, 63, 64, 65, 1000}) {
      expect_matches_loops(config_of("Qavg_Kmaxminavg", model), model, 1, length, length);
      expect_matches_loops(config_of("Qavg16_Kmaxminavg", model), model, 1, length, length);
    }
  }
}

TEST(GateFormula, BlockSizes) {
  const ModelConfig model = test::small_model(3, 1);
  for (const std::int64_t block : {16, 32, 64, 128})
    expect_matches_loops(config_of("Qavg16_Kmaxminavg", model, block), model, 1, 300, 300);
}

TEST(GateFormula, WidthOtherThanHeadDim) {
  const ModelConfig model = test::small_model(4, 2, 8);
  for (const std::int64_t width : {4, 16})
    for (const char* design : {"Qavg_Kmaxminavg", "Qavg16_Kmaxminavg"})
      expect_matches_loops(config_of(design, model, 64, width), model, 1, 200, 200);
}

TEST(GateFormula, Settings) {
  const ModelConfig model = test::small_model(4, 2);
  GateConfig config = config_of("Qavg_Kmaxminavg", model, 64, 0, /*force_double=*/true);
  EXPECT_EQ(config.key_heads, KeyHeads::kKv);
  expect_matches_loops(config, model, 1, 200, 200);
  config.qk_norm = true;
  expect_matches_loops(config, model, 1, 200, 200);
  config.use_rope = false;
  expect_matches_loops(config, model, 1, 200, 200);
  config = config_of("Qavg16_Kavg", model);
  config.key_heads = KeyHeads::kKv;
  expect_matches_loops(config, model, 1, 200, 200);
  config.project_queries = config.project_keys = false;
  expect_matches_loops(config, model, 1, 200, 200);
}

TEST(GateFormula, QueriesBehindPastKeys) {
  const ModelConfig model = test::small_model(4, 2);
  for (const char* design : {"Qavg_Kmaxminavg", "Qavg16_Kmaxminavg16"}) {
    for (const std::int64_t past : {64, 192, 50})  // 50: the query grid is not the keys'
      for (const std::int64_t q_len : {1, 64, 100})
        expect_matches_loops(config_of(design, model), model, 1, q_len, past + q_len);
  }
}

TEST(GateFormula, Bfloat16InputIsPooledInBfloat16) {
  const ModelConfig model = test::small_model(4, 2);
  const auto gate = random_gate(config_of("Qavg16_Kmaxminavg", model), model);
  const auto input = test::random_input(model, 1, 200, 200);
  const at::Tensor q = input.q.to(at::kBFloat16);
  const at::Tensor k = input.k.to(at::kBFloat16);
  const at::Tensor logits = logits_of(*gate, q, k);
  EXPECT_EQ(logits.scalar_type(), at::kFloat);
  const at::Tensor expected = test::plain_block_logits(*gate, model, q, k);
  const at::Tensor seen = expected != -kInfinity;
  // Averages are rounded to 8 bits, 1/256 each, before sums of 8 to 24 terms.
  EXPECT_TRUE(at::allclose(logits.to(at::kDouble).masked_select(seen), expected.masked_select(seen),
                           2e-2, 5e-2));
}

TEST(GateFormula, ChunkedEqualsWhole) {
  const ModelConfig model = test::small_model(6, 2);
  for (const char* design : {"Qavg_Kmaxminavg", "Qavg4_Kmaxminavg16", "Qavg1_Kavg"}) {
    const auto gate = random_gate(config_of(design, model), model);
    const std::int64_t length = 333;
    const auto input = test::random_input(model, 2, length, length);
    const at::Tensor whole = logits_of(*gate, input.q, input.k);
    std::vector<at::Tensor> keys;
    std::vector<at::Tensor> rows;
    for (std::int64_t first = 0; first < length; first += 128) {
      const std::int64_t count = std::min<std::int64_t>(128, length - first);
      const at::Tensor q_reps = gate->query_representatives(input.q.narrow(2, first, count), first);
      keys.push_back(gate->key_representatives(input.k.narrow(2, first, count), first));
      at::Tensor part = gate->block_logits(q_reps, at::cat(keys, 2), count, first + count);
      const std::int64_t missing = whole.size(3) - part.size(3);
      rows.push_back(at::constant_pad_nd(part, {0, missing}, -kInfinity));
    }
    // Tables for other positions and products of other shapes round differently.
    EXPECT_TRUE(at::allclose(at::cat(rows, 2), whole, 1e-4, 1e-4)) << design;
  }
}

TEST(GateFormula, SameBitsForEveryNumberOfThreads) {
  const ModelConfig model = test::small_model(6, 2, 16);
  const auto gate = random_gate(config_of("Qavg16_Kmaxminavg16", model), model);
  const auto input = test::random_input(model, 1, 3000, 3000);
  at::Tensor first;
  for (const int threads : {1, 2, 3}) {
    const ThreadsGuard guard(threads);
    const at::Tensor logits = logits_of(*gate, input.q, input.k);
    if (!first.defined()) first = logits;
    EXPECT_TRUE(at::equal(first, logits)) << threads;
  }
}

TEST(GateFormula, EmptyLengths) {
  const ModelConfig model = test::small_model(4, 2);
  const auto gate = random_gate(config_of("Qavg16_Kmaxminavg", model), model);
  const auto input = test::random_input(model, 2, 0, 0);
  EXPECT_EQ(logits_of(*gate, input.q, input.k).sizes(), at::IntArrayRef({2, 4, 0, 0}));
  const auto past = test::random_input(model, 2, 0, 64);
  EXPECT_EQ(logits_of(*gate, past.q, past.k).sizes(), at::IntArrayRef({2, 4, 0, 1}));
}

TEST(GateFormula, InferenceModeGivesTheSame) {
  const ModelConfig model = test::small_model(4, 2);
  for (const char* design : {"Qavg1_Kavg", "Qavg_Kmaxminavg"}) {
    const auto gate = random_gate(config_of(design, model), model);
    const auto input = test::random_input(model, 1, 150, 150);
    const at::Tensor expected = logits_of(*gate, input.q, input.k);
    at::Tensor q, k;
    {
      const c10::InferenceMode inference;
      EXPECT_TRUE(at::equal(logits_of(*gate, input.q, input.k), expected));
      q = input.q.clone();
      k = input.k.clone();
    }
    // Activations of a frozen model are inference tensors; training on them must work.
    for (const GateParameter& parameter : gate->parameters())
      at::Tensor(parameter.value).set_requires_grad(true);
    const at::Tensor logits = logits_of(*gate, q, k);
    EXPECT_TRUE(at::equal(logits.detach(), expected));
    logits.masked_fill(logits == -kInfinity, 0).sum().backward();
    for (const GateParameter& parameter : gate->parameters())
      EXPECT_TRUE(parameter.value.grad().defined()) << design << " " << parameter.name;
  }
}

TEST(GateFormula, IdentityIsMeanPooling) {
  const ModelConfig model = test::small_model(4, 2);
  for (const char* design : {"Qavg_Kmaxminavg", "Qavg16_Kmaxminavg16"}) {
    GateSet gates(config_of(design, model), model);
    gates.initialise(GateInit::kIdentity, 1);
    std::string means(design);
    means.replace(means.find("maxminavg"), 9, "avg");
    GateConfig config = config_of(means, model);
    config.project_queries = config.project_keys = false;
    const auto input = test::random_input(model, 1, 200, 200);
    EXPECT_TRUE(at::allclose(logits_of(gates.layer(0), input.q, input.k),
                             logits_of(*make_gate(config, model), input.q, input.k), 1e-5, 1e-5));
  }
}

TEST(GateFormula, ArgumentsThatCannotBe) {
  const ModelConfig model = test::small_model(4, 2);
  const auto gate = random_gate(config_of("Qavg16_Kmaxminavg", model), model);
  const auto input = test::random_input(model, 1, 64, 64);
  EXPECT_THROW(gate->query_representatives(input.k, 0), c10::Error);
  EXPECT_THROW(gate->query_representatives(input.q.to(at::kInt), 0), c10::Error);
  EXPECT_THROW(gate->query_representatives(input.q, -1), c10::Error);
  EXPECT_THROW(gate->key_representatives(input.k, 16), c10::Error);
  const at::Tensor q = gate->query_representatives(input.q, 0);
  const at::Tensor k = gate->key_representatives(input.k, 0);
  EXPECT_THROW(gate->block_logits(q, k, 64, 63), c10::Error);
  EXPECT_THROW(gate->block_logits(q, k, 65, 65), c10::Error);
  EXPECT_THROW(gate->block_logits(q, k.to(at::kDouble), 64, 64), c10::Error);
  EXPECT_THROW(gate->block_logits(q.narrow(1, 0, 3), k, 64, 64), c10::Error);
}

}  // namespace
}  // namespace seer
