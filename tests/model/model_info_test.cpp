#include "seer/model_info.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <stdexcept>

#include "support/model_files.h"

namespace seer {
namespace {

std::filesystem::path bundled() {
  return std::filesystem::path(SEER_SOURCE_DIR) / "models" / "books-19m-32k";
}

TEST(ModelInfo, BundledModel) {
  const ModelInfo info =
      read_model_info(bundled(), {.context = 4096, .batch = 2, .dtype = "bfloat16"});
  EXPECT_TRUE(info.problems.empty()) << info.problems.front();
  EXPECT_EQ(info.parameters, 37764864 / 2);
  EXPECT_EQ(info.embedding_parameters, 8192 * 384);
  EXPECT_EQ(info.stored.bytes, 37764864);
  EXPECT_EQ(info.stored_by_dtype.at("BF16").tensors, 92);
  EXPECT_EQ(info.memory.weights, 37764864);
  EXPECT_EQ(info.memory.cache, 2LL * 4096 * 10 * 2 * 2 * 64 *
                                   2);  // batch, context, layers, k and v, heads, width, bytes
  EXPECT_GT(info.memory.activations, 0);
}

TEST(ModelInfo, ContextDefaultsToAllPositions) {
  const ModelInfo info = read_model_info(bundled(), {});
  EXPECT_EQ(info.run.context, 32768);
  EXPECT_EQ(info.memory.weights, 2 * 37764864);  // float32
}

// An untied output matrix, biases and norms count: the golden models say by their files how many.
TEST(ModelInfo, ParametersAreThoseStored) {
  for (const char* name : {"llama-yarn", "llama31", "qwen2", "qwen3"}) {
    const auto folder =
        std::filesystem::path(SEER_SOURCE_DIR) / "tests" / "golden" / "parity" / name;
    const ModelInfo info = read_model_info(folder, {});
    EXPECT_TRUE(info.problems.empty()) << name << ": " << info.problems.front();
    std::int64_t stored = 0;
    for (const auto& [dtype, count] : info.stored_by_dtype)
      stored += count.bytes / (dtype == "F32" ? 4 : 2);
    EXPECT_EQ(info.parameters, stored) << name;
  }
}

TEST(ModelInfo, ActivationsGrowWithTheChunkNotTheContext) {
  const auto activations = [](std::int64_t context, std::int64_t chunk) {
    return read_model_info(bundled(), {.context = context, .prefill_chunk = chunk})
        .memory.activations;
  };
  EXPECT_EQ(activations(8192, 1024), activations(32768, 1024));
  EXPECT_GT(activations(8192, 2048), activations(8192, 1024));
  EXPECT_EQ(activations(100, 2048), activations(100, 1024));
}

TEST(ModelInfo, WeightsThatDoNotFitAreProblems) {
  test::TemporaryFolder folder;
  folder.write("config.json", test::read_bytes(bundled() / "config.json"));
  ModelInfo info = read_model_info(folder.path(), {});
  ASSERT_EQ(info.problems.size(), 1u);
  EXPECT_NE(info.problems[0].find("no weights"), std::string::npos);
  folder.write("model.safetensors",
               test::safetensors_file({{"model.norm.weight", "F32", {2}, std::string(8, '\0')},
                                       {"extra", "I8", {1}, "x"}}));
  info = read_model_info(folder.path(), {});
  ASSERT_EQ(info.problems.size(), 2u);
  EXPECT_NE(info.problems[0].find("I8"), std::string::npos);
  for (const char* word : {"model.embed_tokens.weight", "extra", "model.norm.weight"}) {
    EXPECT_NE(info.problems[1].find(word), std::string::npos) << info.problems[1];
  }
  EXPECT_EQ(info.parameters, 37764864 / 2);  // as the configuration has them
}

TEST(ModelInfo, Gates) {
  test::TemporaryFolder gates;
  EXPECT_THROW(read_model_info(bundled(), {}, gates.path()), std::runtime_error);
  gates.write("gate_config.json",
              R"({"design": "attn", "block_size": 64, "training": {"steps": 1}})");
  gates.write("gates.safetensors",
              test::safetensors_file({{"g", "F32", {2}, std::string(8, '\0')}}));
  const ModelInfo info = read_model_info(bundled(), {}, gates.path());
  EXPECT_EQ(info.gates->fields,
            (std::map<std::string, std::string>{{"block_size", "64"}, {"design", "attn"}}));
  EXPECT_EQ(info.memory.gates, 8);
}

TEST(ModelInfo, RunsThatCannotBe) {
  EXPECT_THROW(read_model_info(bundled(), {.context = -1}), std::invalid_argument);
  EXPECT_THROW(read_model_info(bundled(), {.batch = 0}), std::invalid_argument);
  EXPECT_THROW(read_model_info(bundled(), {.dtype = "int8"}), std::invalid_argument);
  EXPECT_THROW(read_model_info(bundled(), {.context = 2147483647, .batch = 2147483647}),
               std::invalid_argument);
}

TEST(ModelInfo, Reports) {
  const ModelInfo info = read_model_info(bundled(), {.context = 4096});
  const auto json = nlohmann::json::parse(model_info_json(info));
  EXPECT_EQ(json["config"]["rope"]["theta"], 500000.0);
  EXPECT_EQ(json["memory"]["total"], info.memory.total());
  EXPECT_EQ(json["stored"]["by_dtype"]["BF16"]["tensors"], 92);
  const std::string text = model_info_text(info);
  for (const char* word : {"books-19m-32k", "18.9 million", "92 BF16", "total"}) {
    EXPECT_NE(text.find(word), text.npos) << text;
  }
}

}  // namespace
}  // namespace seer
