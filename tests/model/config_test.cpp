// What configurations mean; fuzz/corpus/config has those that are refused.
#include "seer/config.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

#include "support/model_files.h"

namespace seer {
namespace {

using nlohmann::json;
using test::TemporaryFolder;

json llama() {
  return {{"model_type", "llama"},
          {"architectures", {"LlamaForCausalLM"}},
          {"vocab_size", 512},
          {"hidden_size", 256},
          {"intermediate_size", 384},
          {"num_hidden_layers", 2},
          {"num_attention_heads", 4},
          {"num_key_value_heads", 2},
          {"max_position_embeddings", 1024}};
}

json of_family(const char* model_type, const char* architecture) {
  json config = llama();
  config["model_type"] = model_type;
  config["architectures"] = {architecture};
  return config;
}

json mistral() {
  return of_family("mistral", "MistralForCausalLM");
}

ModelConfig read(const json& config, const json& generation = nullptr) {
  TemporaryFolder folder;
  folder.write("config.json", config.dump());
  if (!generation.is_null()) folder.write("generation_config.json", generation.dump());
  return read_model_config(folder.path());
}

void refused(const json& config, std::initializer_list<const char*> words) {
  const std::string text = test::runtime_error_of([&] { read(config); });
  EXPECT_NE(text.find("config.json: "), text.npos) << text;
  for (const char* word : words)
    EXPECT_NE(text.find(word), text.npos) << word << " is not in: " << text;
}

std::filesystem::path root() {
  return SEER_SOURCE_DIR;
}

TEST(ModelConfig, BundledModel) {
  const ModelConfig config = read_model_config(root() / "models" / "books-19m-32k");
  EXPECT_EQ(config.family, ModelFamily::kLlama);
  EXPECT_EQ(config.name, "books-19m-32k");
  EXPECT_EQ(config.num_layers, 10);
  EXPECT_EQ(config.num_q_heads, 6);
  EXPECT_EQ(config.num_kv_heads, 2);
  EXPECT_EQ(config.head_dim, 64);
  EXPECT_EQ(config.max_positions, 32768);
  EXPECT_EQ(config.rms_norm_eps, 1e-5);
  EXPECT_EQ(config.rope.kind, RopeKind::kDefault);
  EXPECT_EQ(config.rope.theta, 500000.0);
  EXPECT_TRUE(config.tie_embeddings);
  EXPECT_EQ(config.dtype, "bfloat16");
  EXPECT_EQ(config.bos_token, 0);
  EXPECT_EQ(config.eos_tokens, std::vector<std::int64_t>{1});
  EXPECT_EQ(config.pad_token, 2);
}

TEST(ModelConfig, GoldenModels) {
  const std::filesystem::path golden = root() / "tests" / "golden" / "parity";
  const ModelConfig yarn = read_model_config(golden / "llama-yarn");
  EXPECT_EQ(yarn.rope.kind, RopeKind::kYarn);
  EXPECT_EQ(yarn.rope.factor, 4.0);
  EXPECT_EQ(yarn.rope.original_max_positions, 256);
  EXPECT_FALSE(yarn.rope.attention_factor);
  EXPECT_FALSE(yarn.pad_token);
  const ModelConfig llama31 = read_model_config(golden / "llama31");
  EXPECT_EQ(llama31.rope.kind, RopeKind::kLlama3);
  EXPECT_EQ(llama31.rope.factor, 8.0);
  EXPECT_EQ(llama31.rope.high_freq_factor, 4.0);
  EXPECT_EQ(llama31.rope.original_max_positions, 128);
  EXPECT_FALSE(llama31.tie_embeddings);
  const ModelConfig qwen2 = read_model_config(golden / "qwen2");
  EXPECT_EQ(qwen2.family, ModelFamily::kQwen2);
  EXPECT_TRUE(qwen2.qkv_bias);
  EXPECT_FALSE(qwen2.output_bias);
  EXPECT_EQ(qwen2.head_dim, 64);
  const ModelConfig qwen3 = read_model_config(golden / "qwen3");
  EXPECT_EQ(qwen3.family, ModelFamily::kQwen3);
  EXPECT_TRUE(qwen3.qk_norm);
  EXPECT_EQ(qwen3.head_dim, 128);
  EXPECT_EQ(qwen3.rope.theta, 1e6);  // from rope_parameters
}

TEST(ModelConfig, DefaultsAreThoseOfTransformers) {
  const ModelConfig config = read(llama());
  EXPECT_EQ(config.rms_norm_eps, 1e-6);
  EXPECT_EQ(config.rope.theta, 10000.0);
  EXPECT_EQ(config.dtype, "float32");
  EXPECT_FALSE(config.tie_embeddings);
  EXPECT_EQ(config.head_dim, 64);
  json without_groups = llama();
  without_groups.erase("num_key_value_heads");
  EXPECT_EQ(read(without_groups).num_kv_heads, 4);
  EXPECT_EQ(read(of_family("qwen3", "Qwen3ForCausalLM")).head_dim, 128);
}

TEST(ModelConfig, Biases) {
  json config = llama();
  config["attention_bias"] = true;
  config["mlp_bias"] = true;
  const ModelConfig biased = read(config);
  EXPECT_TRUE(biased.qkv_bias && biased.output_bias && biased.mlp_bias);
  json qwen3 = of_family("qwen3", "Qwen3ForCausalLM");
  qwen3["attention_bias"] = true;
  EXPECT_TRUE(read(qwen3).qkv_bias && read(qwen3).output_bias);
}

TEST(ModelConfig, BothNamesOfTheDtype) {
  json config = llama();
  config["torch_dtype"] = "float16";
  EXPECT_EQ(read(config).dtype, "float16");
  config["dtype"] = "bfloat16";
  EXPECT_EQ(read(config).dtype, "bfloat16");
  config["dtype"] = "int8";
  refused(config, {"dtype", "\"int8\"", "bfloat16"});
}

TEST(ModelConfig, RopeInBothConventions) {
  json old_way = llama();
  old_way["rope_theta"] = 5e5;
  old_way["rope_scaling"] = {{"type", "linear"}, {"factor", 2}};
  json new_way = llama();
  new_way["rope_parameters"] = {{"rope_type", "linear"}, {"factor", 2.0}, {"rope_theta", 5e5}};
  for (const json& config : {old_way, new_way}) {
    const RopeConfig rope = read(config).rope;
    EXPECT_EQ(rope.kind, RopeKind::kLinear);
    EXPECT_EQ(rope.factor, 2.0);
    EXPECT_EQ(rope.theta, 5e5);
  }
  // rope_scaling counts first, its own theta before the top level's.
  old_way["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 7.0}};
  EXPECT_EQ(read(old_way).rope.kind, RopeKind::kLinear);
  old_way["rope_scaling"]["rope_theta"] = 9.0;
  EXPECT_EQ(read(old_way).rope.theta, 9.0);
  old_way["rope_scaling"] = nullptr;
  EXPECT_EQ(read(old_way).rope.theta, 7.0);
  json nested = llama();
  nested["rope_parameters"] = {
      {"full_attention", {{"rope_type", "linear"}, {"factor", 3.0}, {"rope_theta", 8.0}}}};
  EXPECT_EQ(read(nested).rope.factor, 3.0);
}

TEST(ModelConfig, Yarn) {
  json config = llama();
  config["rope_scaling"] = {{"rope_type", "yarn"}, {"factor", 4.0}};
  RopeConfig rope = read(config).rope;
  EXPECT_EQ(rope.original_max_positions, 1024);  // absent: the model's own
  EXPECT_EQ(rope.beta_fast, 32.0);
  EXPECT_EQ(rope.beta_slow, 1.0);
  EXPECT_TRUE(rope.truncate);
  config["rope_scaling"] = {{"rope_type", "yarn"},
                            {"factor", nullptr},
                            {"original_max_position_embeddings", 128},
                            {"attention_factor", 1.25},
                            {"beta_fast", 16},
                            {"beta_slow", 0},
                            {"mscale", 0.5},
                            {"mscale_all_dim", 0},
                            {"truncate", false}};
  rope = read(config).rope;
  EXPECT_EQ(rope.factor, 8.0);  // 1024 / 128
  EXPECT_EQ(rope.attention_factor, 1.25);
  EXPECT_EQ(rope.beta_fast, 16.0);
  EXPECT_EQ(rope.beta_slow, 1.0);  // 0 counts as absent
  EXPECT_EQ(rope.mscale, 0.5);
  EXPECT_FALSE(rope.mscale_all_dim);
  EXPECT_FALSE(rope.truncate);
  config["original_max_position_embeddings"] = 256;  // of the top level: counts first
  EXPECT_EQ(read(config).rope.original_max_positions, 256);
}

TEST(ModelConfig, SlidingWindows) {
  json config = mistral();
  config["sliding_window"] = nullptr;
  EXPECT_EQ(read(config).family, ModelFamily::kMistral);
  config["sliding_window"] = 1024;  // of all positions: changes nothing
  EXPECT_EQ(read(config).max_positions, 1024);
  config["sliding_window"] = 512;
  refused(config, {"sliding_window is 512", "full attention"});
  config.erase("sliding_window");  // means 4096
  EXPECT_EQ(read(config).max_positions, 1024);
  config["max_position_embeddings"] = 8192;
  refused(config, {"sliding_window is missing", "4096", "null"});
  json qwen2 = of_family("qwen2", "Qwen2ForCausalLM");
  qwen2["sliding_window"] = 512;  // not in use
  EXPECT_TRUE(read(qwen2).qkv_bias);
  qwen2["use_sliding_window"] = true;
  refused(qwen2, {"use_sliding_window is true"});
}

TEST(ModelConfig, SpecialTokens) {
  json config = llama();
  config["bos_token_id"] = 5;
  config["eos_token_id"] = 6;
  config["pad_token_id"] = -1;
  ModelConfig read_config = read(config);
  EXPECT_EQ(read_config.bos_token, 5);
  EXPECT_EQ(read_config.eos_tokens, std::vector<std::int64_t>{6});
  EXPECT_FALSE(read_config.pad_token);
  read_config =
      read(config, {{"eos_token_id", {7, 8}}, {"bos_token_id", nullptr}, {"do_sample", true}});
  EXPECT_EQ(read_config.bos_token, 5);
  EXPECT_EQ(read_config.eos_tokens, (std::vector<std::int64_t>{7, 8}));
  EXPECT_NE(test::runtime_error_of([&] {
              read(config, {{"eos_token_id", "x"}});
            }).find("generation_config.json"),
            std::string::npos);
}

TEST(ModelConfig, RefusalsSayWhatIsSupported) {
  json config = llama();
  config["model_type"] = "gemma2";
  refused(config, {"model_type is \"gemma2\"", "llama, mistral, qwen2, qwen3"});
  config = llama();
  config["hidden_act"] = "gelu";
  refused(config, {"hidden_act is \"gelu\"", "silu"});
  config = llama();
  config["num_key_value_heads"] = 3;
  refused(config, {"num_key_value_heads is 3", "divisor", "4"});
  config = llama();
  config["rope_scaling"] = {{"type", "dynamic"}, {"factor", 2.0}};
  refused(config, {"rope_scaling.type is \"dynamic\"", "default, linear, llama3, yarn"});
  config = llama();
  config["quantization_config"] = {{"quant_method", "awq"}};
  refused(config, {"quantization_config.quant_method is \"awq\""});
  config = llama();
  config["hidden_size"] = 2147483648;
  refused(config, {"hidden_size is 2147483648", "2147483647"});
}

TEST(ModelConfig, Folders) {
  TemporaryFolder folder;
  EXPECT_NE(test::runtime_error_of([&] {
              read_model_config(folder.path() / "none");
            }).find("no such folder"),
            std::string::npos);
  EXPECT_NE(
      test::runtime_error_of([&] { read_model_config(folder.path()); }).find("has no config.json"),
      std::string::npos);
  folder.write("config.json", "{");
  EXPECT_NE(test::runtime_error_of([&] { read_model_config(folder.path()); }).find("no valid JSON"),
            std::string::npos);
  EXPECT_NE(test::runtime_error_of([&] {
              read_model_config(folder.path() / "config.json");
            }).find("not a folder"),
            std::string::npos);
}

}  // namespace
}  // namespace seer
