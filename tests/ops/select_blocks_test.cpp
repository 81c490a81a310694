// The selection operator against the plain loops of its reference, and against the words of its
// contract.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "base/ceil_div.h"
#include "base/selection_policy.h"
#include "kernels/select_blocks/cpu.h"
#include "kernels/select_blocks/reference.h"
#include "seer/ops.h"
#include "support/threads_guard.h"

namespace seer {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Lengths {
  std::int64_t q_len;
  std::int64_t kv_len;
};

// bool [num_q_blocks, num_kv_blocks]: whether any query of the one may see any key of the other.
at::Tensor visible_blocks(Lengths lengths, std::int64_t block_size) {
  at::Tensor visible = at::zeros(
      {ceil_div(lengths.q_len, block_size), ceil_div(lengths.kv_len, block_size)}, at::kBool);
  for (std::int64_t query = 0; query < lengths.q_len; ++query) {
    const std::int64_t last_key = query + lengths.kv_len - lengths.q_len;
    for (std::int64_t key = 0; key <= last_key; key += block_size) {
      visible[query / block_size][key / block_size] = true;
    }
  }
  return visible;
}

at::Tensor reference(const at::Tensor& scores, const std::string& text, Lengths lengths,
                     std::int64_t block_size) {
  const SelectionPolicy policy = SelectionPolicy::parse(text);
  at::Tensor mask = at::empty(scores.sizes(), at::kBool);
  SelectBlocksParams params;
  params.scores = scores.const_data_ptr();
  params.mask = static_cast<std::uint8_t*>(mask.mutable_data_ptr());
  params.scores_strides = {scores.stride(0), scores.stride(1), scores.stride(2)};
  params.element = scores.scalar_type() == at::kFloat      ? Element::kFloat32
                   : scores.scalar_type() == at::kBFloat16 ? Element::kBFloat16
                                                           : Element::kFloat64;
  params.batch = scores.size(0);
  params.heads = scores.size(1);
  params.q_len = lengths.q_len;
  params.kv_len = lengths.kv_len;
  params.block_size = block_size;
  params.num_q_blocks = scores.size(2);
  params.num_kv_blocks = scores.size(3);
  params.sink = policy.sink;
  params.local = policy.local;
  params.dense_rows = policy.dense_rows;
  params.threshold = params.mass = policy.value;
  switch (policy.rule) {
    case PolicyRule::kRatio:
      params.rule = SelectionRule::kTopBlocks;
      params.top_blocks = blocks_of_ratio(policy.value, params.num_kv_blocks);
      break;
    case PolicyRule::kBudget:
      params.rule = SelectionRule::kTopBlocks;
      params.top_blocks = blocks_of_budget(policy.budget, block_size);
      break;
    case PolicyRule::kThreshold: params.rule = SelectionRule::kThreshold; break;
    case PolicyRule::kMass: params.rule = SelectionRule::kMass; break;
    default: params.rule = SelectionRule::kAll;
  }
  const BadScore bad =
      select_blocks_reference(params, 0, params.batch * params.heads * params.num_q_blocks);
  EXPECT_LT(bad.position, 0);
  return mask;
}

enum class Scores { kLogits, kProbabilities, kFlat, kSink, kTies, kZeros };
constexpr Scores kAllScores[] = {Scores::kLogits, Scores::kProbabilities, Scores::kFlat,
                                 Scores::kSink,   Scores::kTies,          Scores::kZeros};

// Scores of every distribution that cuts the buckets differently; only kLogits has some below 0.
at::Tensor make_scores(Scores kind, at::IntArrayRef shape, at::ScalarType dtype) {
  const at::Tensor random = at::randn(shape, at::kDouble);
  switch (kind) {
    case Scores::kLogits: return (random * 3).to(dtype);
    case Scores::kProbabilities: return (random * 3).softmax(-1).to(dtype);
    case Scores::kFlat: return (random * 1e-4).softmax(-1).to(dtype);
    case Scores::kSink: {
      at::Tensor logits = random * 1e-3;
      if (shape.back() > 0) logits.select(3, 0).fill_(9.0);
      return logits.softmax(-1).to(dtype);
    }
    case Scores::kTies: return (random.abs().floor() / 4).to(dtype);
    case Scores::kZeros: return (random * 0.0).to(dtype);  // of both signs
  }
  return {};
}

at::Tensor make_scores(Scores kind, Lengths lengths, std::int64_t block_size, at::ScalarType dtype,
                       std::int64_t batch = 1, std::int64_t heads = 2) {
  return make_scores(
      kind,
      {batch, heads, ceil_div(lengths.q_len, block_size), ceil_div(lengths.kv_len, block_size)},
      dtype);
}

const std::vector<std::string> kPolicies = {"dense",
                                            "gate:ratio=0.1",
                                            "gate:ratio=0.5",
                                            "gate:ratio=1",
                                            "gate:budget=1",
                                            "gate:budget=128",
                                            "gate:budget=1000000",
                                            "gate:threshold=0",
                                            "gate:threshold=5e-4",
                                            "gate:threshold=0.25",
                                            "gate:mass=0.001",
                                            "gate:mass=0.5",
                                            "gate:mass=0.95",
                                            "gate:mass=0.9999999999999999",
                                            "gate:mass=1",
                                            "gate:ratio=0.1,sink=1,local=2",
                                            "gate:threshold=0.25,dense_rows=2",
                                            "gate:mass=0.5,sink=1000000,local=1",
                                            "gate:budget=64,sink=2,local=3,dense_rows=1",
                                            "gate:ratio=0.3,local=9223372036854775807",
                                            "gate:ratio=0.3,dense_rows=9223372036854775807"};

bool takes(const std::string& policy, Scores kind) {
  return kind != Scores::kLogits || policy.find("mass") == std::string::npos;
}

using Case = std::tuple<at::ScalarType, std::int64_t, Lengths>;
class SelectBlocks : public testing::TestWithParam<Case> {};

TEST_P(SelectBlocks, MatchesReference) {
  const auto [dtype, block_size, lengths] = GetParam();
  at::manual_seed(lengths.q_len * 1000 + lengths.kv_len);
  for (Scores kind : kAllScores) {
    const at::Tensor scores = make_scores(kind, lengths, block_size, dtype);
    for (const std::string& policy : kPolicies) {
      if (!takes(policy, kind)) continue;
      const at::Tensor mask =
          select_blocks(scores, policy, lengths.q_len, lengths.kv_len, block_size);
      EXPECT_EQ(mask.scalar_type(), at::kBool);
      EXPECT_TRUE(at::equal(mask, reference(scores, policy, lengths, block_size)))
          << policy << " scores " << static_cast<int>(kind);
    }
  }
}

TEST_P(SelectBlocks, KeepsTheContract) {
  const auto [dtype, block_size, lengths] = GetParam();
  const at::Tensor visible = visible_blocks(lengths, block_size);
  const at::Tensor scores = make_scores(Scores::kProbabilities, lengths, block_size, dtype);
  const auto select = [&](const char* policy) {
    return select_blocks(scores, policy, lengths.q_len, lengths.kv_len, block_size);
  };
  const at::Tensor dense = visible.expand(scores.sizes());
  EXPECT_TRUE(at::equal(select("dense"), dense));
  EXPECT_TRUE(at::equal(select("gate:ratio=1"), dense));
  EXPECT_TRUE(at::equal(select("gate:mass=1"), dense & (scores > 0)));
  EXPECT_TRUE(at::equal(select("gate:threshold=0"), dense & (scores > 0)));
  EXPECT_TRUE(at::equal(select("gate:threshold=0.01"),
                        dense & (scores.to(dtype == at::kDouble ? dtype : at::kFloat) > 0.01)));
  const at::Tensor see = visible.sum(1);
  const std::int64_t k = blocks_of_ratio(0.3, visible.size(1));
  EXPECT_TRUE(
      at::equal(select("gate:ratio=0.3").sum(3), see.clamp_max(k).expand({1, 2, see.size(0)})));
  EXPECT_TRUE(at::equal(select("gate:mass=0.5").any(3), (see > 0).expand({1, 2, see.size(0)})));
  EXPECT_TRUE(
      at::equal(select("gate:mass=0.4") & select("gate:mass=0.8"), select("gate:mass=0.4")));
  // The lowest score that is kept is not below the highest that is not.
  const at::Tensor mask = select("gate:mass=0.7");
  const at::Tensor wide = scores.to(at::kDouble);
  if (visible.numel() > 0) {
    EXPECT_TRUE((wide.masked_fill(~mask, kInfinity).amin(3) >=
                 wide.masked_fill(mask | ~dense, -kInfinity).amax(3))
                    .all()
                    .item<bool>());
  }
}

std::string name_of(const testing::TestParamInfo<Case>& info) {
  const Lengths lengths = std::get<2>(info.param);
  return std::string(at::toString(std::get<0>(info.param))) + "_block" +
         std::to_string(std::get<1>(info.param)) + "_" + std::to_string(lengths.q_len) + "x" +
         std::to_string(lengths.kv_len);
}

INSTANTIATE_TEST_SUITE_P(
    Lengths, SelectBlocks,
    testing::Combine(testing::Values(at::kFloat, at::kBFloat16, at::kDouble),
                     testing::Values(16, 32, 64, 128),
                     testing::Values(Lengths{0, 0}, Lengths{1, 1}, Lengths{63, 63}, Lengths{64, 64},
                                     Lengths{65, 65}, Lengths{0, 65}, Lengths{65, 0},
                                     Lengths{1, 1000}, Lengths{64, 129}, Lengths{100, 777},
                                     Lengths{200, 63}, Lengths{777, 100}, Lengths{1500, 1500})),
    name_of);

TEST(SelectBlocksValues, TiesGoToTheLowerIndex) {
  const at::Tensor scores =
      at::tensor({0.0, 1.0, -0.0, 1.0, 0.0, 1.0, 1.0, 0.5}, at::kFloat).view({1, 1, 1, 8});
  const auto kept = [&](const char* policy) {
    return select_blocks(scores, policy, 1, 512, 64).flatten().nonzero().flatten();
  };
  EXPECT_TRUE(at::equal(kept("gate:budget=192"), at::tensor({1, 3, 5}, at::kLong)));
  EXPECT_TRUE(at::equal(kept("gate:budget=384"), at::tensor({0, 1, 3, 5, 6, 7}, at::kLong)));
  EXPECT_TRUE(at::equal(kept("gate:budget=448"), at::tensor({0, 1, 2, 3, 5, 6, 7}, at::kLong)));
  EXPECT_TRUE(at::equal(kept("gate:mass=0.4"), at::tensor({1, 3}, at::kLong)));
  EXPECT_TRUE(at::equal(kept("gate:mass=1"), at::tensor({1, 3, 5, 6, 7}, at::kLong)));
}

TEST(SelectBlocksValues, ManyTies) {  // more than are sorted: cut by buckets
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    at::Tensor scores = at::full({1, 1, 1, 500}, 0.25, at::kDouble);
    scores.slice(3, 100, 110).fill_(0.5);
    scores = scores.to(dtype);
    const at::Tensor mask = select_blocks(scores, "gate:budget=3200", 1, 32000, 64);
    at::Tensor expected = at::zeros({500}, at::kBool);
    expected.slice(0, 0, 40).fill_(true);
    expected.slice(0, 100, 110).fill_(true);
    EXPECT_TRUE(at::equal(mask.flatten(), expected));
  }
}

TEST(SelectBlocksValues, MassOfOneKeepsEveryPositiveBlock) {
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kDouble}) {
    at::Tensor scores =
        at::rand({1, 4, 1, 3000}, at::kDouble) * at::pow(10.0, at::rand({1, 4, 1, 3000}) * -30);
    scores = scores.masked_fill(at::rand(scores.sizes()) < 0.2, 0.0).to(dtype);
    for (const char* policy : {"gate:mass=1", "gate:mass=0.9999999999999999"}) {
      const at::Tensor mask = select_blocks(scores, policy, 1, 3000 * 16, 16);
      EXPECT_FALSE((mask & (scores == 0)).any().item<bool>());
      if (std::string(policy) == "gate:mass=1") {
        EXPECT_TRUE(at::equal(mask, scores > 0));
      }
    }
    const at::Tensor zeros = at::zeros({1, 1, 1, 100}, dtype);
    const at::Tensor mask = select_blocks(zeros, "gate:mass=1", 1, 1600, 16);
    EXPECT_EQ(mask.sum().item<std::int64_t>(), 1);
    EXPECT_TRUE(mask[0][0][0][0].item<bool>());
  }
}

TEST(SelectBlocksValues, InfinityIsAScoreLikeOthersForTheOrder) {
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kDouble}) {
    at::Tensor scores = at::full({1, 1, 1, 64}, -kInfinity, at::kDouble);
    scores[0][0][0][40] = kInfinity;
    scores[0][0][0][50] = -3.0;
    const at::Tensor mask = select_blocks(scores.to(dtype), "gate:budget=256", 1, 4096, 64);
    EXPECT_TRUE(
        at::equal(mask.flatten().nonzero().flatten(), at::tensor({0, 1, 40, 50}, at::kLong)));
  }
}

TEST(SelectBlocksValues, ScoresAfterTheQueryAreNotLookedAt) {
  const Lengths lengths = {1000, 1100};
  const at::Tensor visible = visible_blocks(lengths, 32);
  for (const std::string& policy : kPolicies) {
    const at::Tensor scores = make_scores(Scores::kProbabilities, lengths, 32, at::kFloat);
    const at::Tensor expected = select_blocks(scores, policy, lengths.q_len, lengths.kv_len, 32);
    for (double filler : {kNan, kInfinity, -1.0}) {
      const at::Tensor filled = scores.masked_fill(~visible, filler);
      EXPECT_TRUE(
          at::equal(select_blocks(filled, policy, lengths.q_len, lengths.kv_len, 32), expected));
    }
  }
  const at::Tensor nan = at::full({1, 1, 32, 35}, kNan, at::kFloat);
  EXPECT_TRUE(at::equal(select_blocks(nan, "dense", 1000, 1100, 32)[0][0], visible));
}

TEST(SelectBlocksValues, StridesAndThreadsChangeNothing) {
  const Lengths lengths = {3000, 4000};
  const at::Tensor rows = make_scores(Scores::kProbabilities, {2, 188, 7, 260}, at::kFloat);
  const at::Tensor scores = rows.slice(2, 1, 7, 2).slice(3, 5, 255).transpose(1, 2);
  const ThreadsGuard guard(1);
  for (const std::string& policy : kPolicies) {
    at::set_num_threads(1);
    const at::Tensor expected =
        select_blocks(scores.contiguous(), policy, lengths.q_len, lengths.kv_len, 16);
    at::set_num_threads(4);
    for (int round = 0; round < 2; ++round) {
      EXPECT_TRUE(
          at::equal(select_blocks(scores, policy, lengths.q_len, lengths.kv_len, 16), expected))
          << policy;
    }
  }
}

TEST(SelectBlocksValues, Fuzz) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  at::manual_seed(seed);
  for (int round = 0; round < 500; ++round) {
    const std::int64_t block_size = std::int64_t{16} << random() % 4;
    const std::uint64_t longest = random() % 4 == 0 ? 20000 : 2000;
    const Lengths lengths = {static_cast<std::int64_t>(random() % 300),
                             static_cast<std::int64_t>(random() % longest)};
    const at::ScalarType dtype = random() % 2 != 0 ? at::kFloat : at::kBFloat16;
    const Scores kind = kAllScores[random() % std::size(kAllScores)];
    const at::Tensor scores =
        make_scores(kind, lengths, block_size, dtype, 1 + random() % 2, 1 + random() % 3);
    SelectionPolicy policy;
    policy.source = PolicySource::kGate;
    const PolicyRule rules[] = {PolicyRule::kRatio, PolicyRule::kBudget, PolicyRule::kThreshold,
                                PolicyRule::kMass};
    policy.rule = rules[random() % (kind == Scores::kLogits ? 3 : 4)];
    policy.value = std::uniform_real_distribution<>(1e-6, 0.999)(random);
    if (policy.rule == PolicyRule::kThreshold) policy.value *= policy.value * policy.value;
    policy.budget =
        policy.rule == PolicyRule::kBudget ? 1 + static_cast<std::int64_t>(random() % 4000) : 0;
    policy.sink = static_cast<std::int64_t>(random() % 3);
    policy.local = static_cast<std::int64_t>(random() % 3);
    policy.dense_rows = static_cast<std::int64_t>(random() % 3);
    const std::string text = policy.to_string();
    EXPECT_TRUE(at::equal(select_blocks(scores, text, lengths.q_len, lengths.kv_len, block_size),
                          reference(scores, text, lengths, block_size)))
        << text << " " << lengths.q_len << " x " << lengths.kv_len << " block " << block_size
        << " scores " << static_cast<int>(kind) << " " << at::toString(dtype);
  }
}

TEST(CountBlocks, OfAnyShape) {
  const at::Tensor mask = at::arange(60).remainder(3).eq(0).view({1, 3, 4, 5});
  EXPECT_EQ(count_blocks(mask).item<std::int64_t>(), 20);
  EXPECT_EQ(count_blocks(mask.transpose(1, 3).narrow(2, 1, 2)).item<std::int64_t>(), 10);
  EXPECT_EQ(count_blocks(mask.narrow(0, 0, 0)).item<std::int64_t>(), 0);
  EXPECT_EQ(count_blocks(mask).scalar_type(), at::kLong);
  EXPECT_THROW(count_blocks(mask.to(at::kByte)), c10::Error);
}

TEST(SelectBlocksGradient, TheMaskHasNone) {
  const at::Tensor scores = at::rand({1, 1, 4, 4}).requires_grad_();
  EXPECT_FALSE(select_blocks(scores, "gate:ratio=0.5", 256, 256, 64).requires_grad());
}

void expect_error(const at::Tensor& scores, const std::string& policy, Lengths lengths,
                  std::int64_t block_size, const std::string& message) {
  try {
    select_blocks(scores, policy, lengths.q_len, lengths.kv_len, block_size);
    FAIL() << "accepted " << policy;
  } catch (const c10::Error& error) {
    EXPECT_NE(std::string(error.what_without_backtrace()).find(message), std::string::npos)
        << error.what_without_backtrace();
  }
}

TEST(SelectBlocksErrors, NameTheArgumentItsValueAndWhatIsAccepted) {
  const at::Tensor scores = at::rand({1, 2, 4, 5});
  const Lengths lengths = {256, 300};
  expect_error(scores[0], "dense", lengths, 64,
               "scores: expected 4 dimensions [batch, heads, query blocks, key blocks], got 3");
  expect_error(scores, "dense", lengths, 63, "block_size=63: expected 16, 32, 64 or 128");
  expect_error(scores, "dense", {-1, 300}, 64, "q_len=-1: expected a length >= 0");
  expect_error(scores, "dense", {256, -5}, 64, "kv_len=-5: expected a length >= 0");
  expect_error(scores, "dense", {257, 300}, 64,
               "scores: expected 5 query blocks (q_len=257 in blocks of 64), got 4");
  expect_error(scores, "dense", {256, 256}, 64,
               "scores: expected 4 key blocks (kv_len=256 in blocks of 64), got 5");
  expect_error(at::rand({1, 2, 5, 4}).transpose(2, 3), "dense", lengths, 64,
               "scores: expected a contiguous last dimension, got strides [40, 20, 1, 4]");
  expect_error(scores.to(at::kHalf), "dense", lengths, 64,
               "scores: expected float32, bfloat16 or float64, got Half");
  expect_error(scores, "gate:ratio=1.5", lengths, 64,
               "policy 'gate:ratio=1.5': ratio=1.5 is out of range (expected 0 < ratio <= 1)");
  expect_error(scores, "oracle:ratio=0.5", lengths, 64,
               "policy 'oracle:ratio=0.5': source oracle does not choose from gate scores");
  expect_error(scores, "gate:density=0.1", lengths, 64,
               "density needs the adapter's calibration table");
  expect_error(scores, "gate:ratio=0.1,start_layer=2", lengths, 64,
               "start_layer=2 is decided by the model");
}

TEST(SelectBlocksErrors, BadScoresAreNamedWhateverTheThreads) {
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kDouble}) {
    for (int count : {1, 4}) {
      const ThreadsGuard guard(count);
      const auto with = [&](double value) {
        at::Tensor scores = at::rand({2, 3, 300, 300}, at::kDouble);
        scores[0][2][17][5] = value;
        scores[0][2][17][9] = value;
        scores[1][0][100][60] = value;
        return scores.to(dtype);
      };
      const Lengths lengths = {4800, 4800};
      for (const char* policy : {"gate:ratio=0.1", "gate:ratio=1", "gate:budget=64",
                                 "gate:threshold=0.5", "gate:ratio=0.1,dense_rows=300"}) {
        expect_error(with(kNan), policy, lengths, 16, "scores[0, 2, 17, 5]=nan: expected no NaN");
      }
      expect_error(with(kNan), "gate:mass=0.5", lengths, 16,
                   "scores[0, 2, 17, 5]=nan: mass takes finite probabilities");
      expect_error(with(kInfinity), "gate:mass=0.5", lengths, 16,
                   "scores[0, 2, 17, 5]=inf: mass takes finite probabilities");
      expect_error(with(-0.25), "gate:mass=0.5", lengths, 16,
                   "scores[0, 2, 17, 5]=-0.25: mass takes finite probabilities >= 0 (pass the "
                   "softmax of the logits)");
      EXPECT_NO_THROW(select_blocks(with(-0.25), "gate:threshold=0.5", 4800, 4800, 16));
      EXPECT_NO_THROW(select_blocks(with(-kInfinity), "gate:ratio=0.5", 4800, 4800, 16));
    }
  }
}

}  // namespace
}  // namespace seer
