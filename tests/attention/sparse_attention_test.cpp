// Sparse prefill through whole models: against dense attention, in chunks, and what it reports.
#include "seer/sparse_attention.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "seer/generate.h"
#include "seer/model.h"
#include "seer/score.h"

namespace seer {
namespace {

constexpr std::int64_t kBlock = 16;
constexpr std::int64_t kLength = 400;  // 25 blocks

struct Fixture {
  ModelConfig config;
  Model model;
  GateSet gates;
  at::Tensor tokens;

  explicit Fixture(const std::string& name, const std::string& design = "Qavg4_Kmaxminavg8")
      : config(read_model_config(folder(name))),
        model(config, Checkpoint::open(folder(name)), {}),
        gates(default_gate_config(design, config, kBlock), config),
        tokens(make_tokens(config)) {
    gates.initialise(GateInit::kNormal, 3);
  }

  static std::filesystem::path folder(const std::string& name) {
    return std::filesystem::path(SEER_SOURCE_DIR) / "tests" / "golden" / "parity" / name;
  }
  static at::Tensor make_tokens(const ModelConfig& config) {
    at::manual_seed(11);
    return at::randint(config.vocab_size, {1, kLength}, at::kLong);
  }

  SparseAttention sparse(const std::string& policy, std::int64_t min_context = 0) const {
    return SparseAttention(config, policy, &gates,
                           {.block_size = kBlock, .min_context = min_context});
  }

  // Hidden states of all tokens, `chunk` at once; a null attention is dense.
  at::Tensor hidden(Attention* attention, std::int64_t chunk) const {
    KvCache cache(config, 1, kLength, at::kFloat);
    if (attention != nullptr) attention->begin(0, kLength);
    std::vector<at::Tensor> parts;
    for (std::int64_t first = 0; first < kLength; first += chunk) {
      const std::int64_t count = std::min(chunk, kLength - first);
      parts.push_back(model.forward(tokens.narrow(1, first, count), cache, attention));
    }
    return at::cat(parts, 1);
  }
};

double furthest(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

class OfModel : public testing::TestWithParam<const char*> {};

TEST_P(OfModel, AllBlocksAreDenseAttention) {
  const Fixture f(GetParam());
  const at::Tensor dense = f.hidden(nullptr, kLength);
  for (const char* policy : {"dense",
                             "gate:ratio=1",
                             "gate:mass=1",
                             "gate:density=1",
                             "gate:threshold=0,sink=1,local=1",
                             "oracle:ratio=1",
                             "meanpool:density=1",
                             "streaming:ratio=1",
                             "random:ratio=1",
                             "gate:ratio=0.1,start_layer=2",
                             "gate:ratio=0.1,dense_rows=25",
                             "quest:ratio=1",
                             "quest:density=1",
                             "xattention:ratio=1",
                             "xattention:density=1,stride=4",
                             "xattention:threshold=0,sink=1,local=1",
                             "minference:ratio=1",
                             "minference:density=1,last=9",
                             "minference:ratio=0.1,dense_rows=25",
                             "flexprefill:ratio=1",
                             "flexprefill:density=1,tau=0.5",
                             "flexprefill:mass=0.1,min_budget=512"}) {
    SparseAttention attention = f.sparse(policy);
    EXPECT_LT(furthest(f.hidden(&attention, kLength), dense), 2e-5) << policy;
    EXPECT_DOUBLE_EQ(attention.total_count().density(), 1.0) << policy;
    EXPECT_EQ(attention.policy(), policy);
  }
}

TEST_P(OfModel, ChunksOfWholeBlocksChooseAsAtOnce) {
  const Fixture f(GetParam());
  for (const char* policy :
       {"gate:ratio=0.2", "gate:mass=0.7,local=1", "meanpool:ratio=0.2",
        "meanpool:threshold=0.06,sink=1,local=1", "oracle:ratio=0.3", "streaming:ratio=0.2",
        "random:ratio=0.2,dense_rows=3", "quest:ratio=0.2", "quest:budget=64,sink=1",
        "xattention:ratio=0.2", "xattention:mass=0.7,stride=4"}) {
    SparseAttention once = f.sparse(policy);
    const at::Tensor expected = f.hidden(&once, kLength);
    for (const std::int64_t chunk : {16, 112}) {
      SparseAttention chunked = f.sparse(policy);
      EXPECT_LT(furthest(f.hidden(&chunked, chunk), expected), 1e-4) << policy << " " << chunk;
      EXPECT_EQ(chunked.total_count().kept, once.total_count().kept) << policy << " " << chunk;
      EXPECT_EQ(chunked.total_count().visible, once.total_count().visible);
    }
    EXPECT_LT(once.total_count().density(), 0.9) << policy;
  }
}

TEST_P(OfModel, ChunksOfAnyLengthSeeEveryToken) {
  const Fixture f(GetParam());
  const at::Tensor dense = f.hidden(nullptr, kLength);
  for (const std::int64_t chunk : {1, 7, 50, 399}) {
    SparseAttention attention = f.sparse("gate:ratio=1");
    EXPECT_LT(furthest(f.hidden(&attention, chunk), dense), 2e-5) << chunk;
    SparseAttention half = f.sparse("gate:ratio=0.5");
    EXPECT_TRUE(f.hidden(&half, chunk).isfinite().all().item<bool>());
  }
}

TEST_P(OfModel, DensityIsWhatWasAsked) {
  const Fixture f(GetParam());
  for (const char* source : {"quest", "xattention", "minference", "flexprefill", "oracle"}) {
    for (const double density : {0.2, 0.5}) {
      const std::string policy =
          std::string(source) + (density < 0.3 ? ":density=0.2" : ":density=0.5");
      SparseAttention attention = f.sparse(policy);
      f.hidden(&attention, kLength);
      EXPECT_NEAR(attention.total_count().density(), density, 0.005) << policy;
    }
  }
  // As many as a rule by rows keeps.
  for (const char* policy : {"minference:ratio=0.5", "flexprefill:ratio=0.5"}) {
    SparseAttention attention = f.sparse(policy), by_rows = f.sparse("random:ratio=0.5");
    f.hidden(&attention, kLength);
    f.hidden(&by_rows, kLength);
    EXPECT_EQ(attention.total_count().kept, by_rows.total_count().kept) << policy;
  }
}

INSTANTIATE_TEST_SUITE_P(Families, OfModel,
                         testing::Values("llama31", "llama-yarn", "qwen2", "qwen3"),
                         [](const auto& of) {
                           std::string name = of.param;
                           std::erase(name, '-');
                           return name;
                         });

TEST(SparseAttention, CountsAreThoseOfTheMasks) {
  const Fixture f("llama31");
  std::vector<BlockCount> seen(2);
  SparseAttention attention(
      f.config, "gate:mass=0.6,local=1", &f.gates,
      {.min_context = 0, .on_mask = [&](const AttentionCall& call, const at::Tensor& mask) {
         ASSERT_TRUE(mask.defined());
         EXPECT_EQ(mask.size(1), 4);
         BlockCount& count = seen[static_cast<std::size_t>(call.layer)];
         count.kept += mask.sum().item<std::int64_t>();
         count.visible += 4 * (kLength / kBlock) * (kLength / kBlock + 1) / 2;
       }});
  f.hidden(&attention, kLength);
  ASSERT_EQ(attention.counts().size(), 2u);
  for (std::size_t layer = 0; layer < 2; ++layer) {
    EXPECT_EQ(attention.counts()[layer].kept, seen[layer].kept);
    EXPECT_EQ(attention.counts()[layer].visible, seen[layer].visible);
    EXPECT_GT(attention.counts()[layer].density(), 0.0);
  }
  attention.reset_counts();
  EXPECT_EQ(attention.total_count().visible, 0);
  EXPECT_DOUBLE_EQ(attention.total_count().density(), 1.0);
}

TEST(SparseAttention, ShortPromptsAreDenseInAllChunks) {
  const Fixture f("llama31");
  const at::Tensor dense = f.hidden(nullptr, 64);
  SparseAttention attention = f.sparse("gate:ratio=0.1", kLength + 1);
  EXPECT_EQ(furthest(f.hidden(&attention, 64), dense), 0.0);
  EXPECT_TRUE(attention.is_too_short());
  SparseAttention long_enough = f.sparse("gate:ratio=0.1", kLength);
  f.hidden(&long_enough, 64);
  EXPECT_FALSE(long_enough.is_too_short());
  EXPECT_LT(long_enough.total_count().density(), 0.5);
}

TEST(SparseAttention, ConversationsReuseWholeBlocks) {
  const Fixture f("llama31");
  const auto* data = f.tokens.const_data_ptr<std::int64_t>();
  const std::vector<TokenId> prompt(data, data + 120);
  GenerateOptions options;
  options.max_new_tokens = 30;
  SparseAttention attention = f.sparse("gate:ratio=0.4");
  Generator generator(f.model, nullptr, &attention);
  const Generated first = generator.run(prompt, options, {});
  std::vector<TokenId> longer = prompt;
  longer.insert(longer.end(), first.tokens.begin(), first.tokens.end());
  longer.insert(longer.end(), data + 200, data + 260);
  const Generated second = generator.run(longer, options, {});
  EXPECT_EQ(second.reused_tokens, 144);  // of 149 in the cache
  EXPECT_EQ(second.reused_tokens % kBlock, 0);

  // A dense policy with gates keeps keys as well and gives what no attention gives.
  SparseAttention all = f.sparse("gate:ratio=1");
  Generator sparse(f.model, nullptr, &all), dense(f.model, nullptr);
  EXPECT_EQ(sparse.run(prompt, options, {}).tokens, dense.run(prompt, options, {}).tokens);
  EXPECT_EQ(sparse.run(longer, options, {}).tokens, dense.run(longer, options, {}).tokens);
}

TEST(SparseAttention, ScoresTakeItToo) {
  const Fixture f("qwen3");
  const auto* data = f.tokens.const_data_ptr<std::int64_t>();
  const std::vector<TokenId> tokens(data, data + kLength);
  SparseAttention all = f.sparse("gate:ratio=1"), few = f.sparse("streaming:ratio=0.1");
  ScoreOptions options;
  const double dense = *score_tokens(f.model, tokens, options).nll_mean;
  options.attention = &all;
  EXPECT_NEAR(*score_tokens(f.model, tokens, options).nll_mean, dense, 1e-6);
  options.attention = &few;
  EXPECT_GT(std::abs(*score_tokens(f.model, tokens, options).nll_mean - dense), 1e-6);
}

TEST(SparseAttention, MethodsOfTheLastQueriesTakeThePromptAtOnce) {
  constexpr std::int64_t kLong = kDefaultPrefillChunk + 100;
  ModelConfig config = read_model_config(Fixture::folder("qwen3"));
  config.max_positions = 2 * kLong;
  const Model model(config, Checkpoint::open(Fixture::folder("qwen3")), {});
  at::manual_seed(3);
  const at::Tensor drawn = at::randint(config.vocab_size, {kLong}, at::kLong);
  const auto* data = drawn.const_data_ptr<std::int64_t>();
  const std::vector<TokenId> tokens(data, data + kLong);

  for (const char* policy : {"minference:ratio=0.1", "flexprefill:mass=0.5,min_budget=64"}) {
    std::vector<std::int64_t> lengths;
    SparseAttention attention(
        config, policy, nullptr,
        {.min_context = 0, .on_mask = [&](const AttentionCall& call, const at::Tensor& mask) {
           lengths.push_back(call.q_len());
           EXPECT_EQ(mask.size(1), config.num_q_heads);
         }});
    EXPECT_TRUE(attention.wants_whole_prompt());
    ScoreOptions options;
    options.attention = &attention;
    const SequenceScore score = score_tokens(model, tokens, options);
    EXPECT_TRUE(std::isfinite(*score.nll_mean));
    EXPECT_EQ(lengths, std::vector<std::int64_t>(config.num_layers, kLong));

    options.prefill_chunk = kLong;
    EXPECT_DOUBLE_EQ(*score_tokens(model, tokens, options).nll_mean, *score.nll_mean);
    options.prefill_chunk = kLong - 1;
    EXPECT_THROW(score_tokens(model, tokens, options), std::invalid_argument);

    lengths.clear();
    Generator generator(model, nullptr, &attention);
    GenerateOptions generate;
    generate.max_new_tokens = 3;
    EXPECT_EQ(generator.run(tokens, generate, {}).tokens.size(), 3u);
    EXPECT_EQ(lengths, std::vector<std::int64_t>(config.num_layers, kLong));
    generate.prefill_chunk = 64;
    try {
      Generator(model, nullptr, &attention).run(tokens, generate, {});
      ADD_FAILURE() << policy << " was computed in chunks";
    } catch (const std::invalid_argument& error) {
      EXPECT_NE(std::string(error.what()).find("prefill chunk 64"), std::string::npos);
    }

    // Who calls the model itself is told too.
    KvCache cache(config, 1, kLong, at::kFloat);
    attention.begin(0, kLong);
    try {
      model.forward(drawn.unsqueeze(0).narrow(1, 0, 128), cache, &attention);
      ADD_FAILURE() << policy << " was computed in chunks";
    } catch (const std::invalid_argument& error) {
      EXPECT_NE(std::string(error.what()).find("tokens 0 to 128 of"), std::string::npos);
    }
  }
  EXPECT_FALSE(SparseAttention(config, "quest:ratio=0.1", nullptr).wants_whole_prompt());
}

TEST(SparseAttention, RefusesWhatIsMissing) {
  const Fixture f("llama31");
  const auto message = [&](const char* policy, const GateSet* gates) -> std::string {
    try {
      const SparseAttention attention(f.config, policy, gates, {.block_size = kBlock});
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_NE(message("gate:ratio=0.1", nullptr).find("--gates"), std::string::npos);
  EXPECT_NE(message("gate:density=0.1", &f.gates).find("calibrate"), std::string::npos);
  EXPECT_NE(message("gate:ratio=0.1,start_layer=3", &f.gates).find("start_layer=3"),
            std::string::npos);
  EXPECT_NE(message("gates:ratio=0.1", &f.gates).find("gates"), std::string::npos);
  EXPECT_NE(message("gate:ratio=0", &f.gates).find("ratio"), std::string::npos);
  EXPECT_EQ(message("xattention:mass=0.9,stride=32", nullptr),
            "policy 'xattention:mass=0.9,stride=32': stride=32: expected a divisor of the block "
            "size, 16");
  EXPECT_NE(message("quest:mass=0.9", nullptr).find("no probabilities"), std::string::npos);
  EXPECT_NE(message("minference:threshold=0.1", nullptr).find("no probabilities"),
            std::string::npos);
  EXPECT_NE(message("flexprefill:threshold=0.1", nullptr).find("one of mass, ratio"),
            std::string::npos);
}

}  // namespace
}  // namespace seer
