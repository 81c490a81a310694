// Adapters as folders: written, read, mutated, imported and exported.
#include "seer/gate_adapter.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

#include "gate_case.h"
#include "io/torch_tensors.h"
#include "seer/checkpoint.h"
#include "seer/gate.h"
#include "support/model_files.h"

namespace seer {
namespace {

namespace fs = std::filesystem;

GateSet random_gates(const GateConfig& config, const ModelConfig& model, std::uint64_t seed = 3) {
  GateSet gates(config, model);
  gates.initialise(GateInit::kNormal, seed);
  return gates;
}

void expect_words(const std::string& message, const std::vector<std::string>& words) {
  EXPECT_FALSE(message.empty()) << "accepted";
  for (const std::string& word : words) EXPECT_NE(message.find(word), message.npos) << message;
}

bool same_parameters(const GateSet& a, const GateSet& b) {
  const auto left = a.parameters();
  const auto right = b.parameters();
  if (left.size() != right.size()) return false;
  for (std::size_t i = 0; i < left.size(); ++i) {
    if (left[i].name != right[i].name || !at::equal(left[i].value, right[i].value)) return false;
  }
  return true;
}

TEST(GateAdapter, RoundTripKeepsEveryBit) {
  const ModelConfig model = test::small_model(6, 2);
  for (const char* design : {"Qavg_Kmaxminavg", "Qavg4_Kmaxminavg16"}) {
    const test::TemporaryFolder folder;
    GateSet gates = random_gates(default_gate_config(design, model), model);
    gates.set_training(R"({"steps":3})");
    gates.set_calibration({.rows = {{1024, 0.1, {0.1 + 0.2}}}});
    const fs::path out = folder.path() / "a" / "adapter";
    gates.save(out);
    const GateSet read = GateSet::load(out, model);
    EXPECT_TRUE(same_parameters(gates, read));
    EXPECT_EQ(gate_config_json(read.config()), gate_config_json(gates.config()));
    const AdapterInfo info = read_adapter_info(out);
    EXPECT_EQ(info.layers, 2);
    EXPECT_EQ(info.parameters, gates.parameter_count());
    EXPECT_EQ(info.tensors[0].dtype, "F32");
    // A second one takes its place.
    const GateSet other = random_gates(default_gate_config(design, model), model, 4);
    EXPECT_FALSE(same_parameters(gates, other));
    other.save(out);
    EXPECT_TRUE(same_parameters(other, GateSet::load(out, model)));
    EXPECT_EQ(std::distance(fs::directory_iterator(out.parent_path()), {}), 1);
  }
}

TEST(GateAdapter, InitialisationsAreRepeatable) {
  const ModelConfig model = test::small_model(6, 2, 64);
  const GateConfig config = default_gate_config("Qavg_Kmaxminavg", model);
  EXPECT_TRUE(same_parameters(random_gates(config, model), random_gates(config, model)));
  GateSet gates(config, model);
  gates.initialise(GateInit::kNormal, 1);
  const at::Tensor weight = gates.layer(0).parameters()[0].value;
  EXPECT_NEAR(weight.std().item<double>(), 0.02, 0.0005);
  EXPECT_NEAR(weight.mean().item<double>(), 0.0, 0.0005);
  EXPECT_FALSE(at::equal(weight, gates.layer(1).parameters()[0].value));
  gates.initialise(GateInit::kXavier, 1);
  const double bound = std::sqrt(6.0 / (192 * 64 + 6 * 64));
  EXPECT_LE(weight.abs().max().item<double>(), bound);
  EXPECT_GT(weight.abs().max().item<double>(), 0.99 * bound);
  EXPECT_THROW(random_gates(default_gate_config("Qavg_Kmaxmin", model), model)
                   .initialise(GateInit::kIdentity, 1),
               std::invalid_argument);
  EXPECT_EQ(parse_gate_init("identity"), GateInit::kIdentity);
  EXPECT_THROW(parse_gate_init("zeros"), std::invalid_argument);
}

TEST(GateAdapter, FoldersThatMustNotBeReplaced) {
  const ModelConfig model = test::small_model(4, 2);
  const GateSet gates = random_gates(default_gate_config("Qavg_Kavg", model), model);
  const test::TemporaryFolder folder;
  folder.write("thesis.txt", "years of work");
  expect_words(test::runtime_error_of([&] { gates.save(folder.path()); }), {"thesis.txt"});
  expect_words(test::runtime_error_of([&] { gates.save(folder.path() / "thesis.txt"); }),
               {"thesis.txt", "is a file"});
  EXPECT_EQ(test::read_bytes(folder.path() / "thesis.txt"), "years of work");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 1);
  const test::TemporaryFolder empty;
  gates.save(empty.path());
  EXPECT_TRUE(same_parameters(gates, GateSet::load(empty.path(), model)));
}

class BrokenAdapter : public testing::Test {
 protected:
  BrokenAdapter() : model_(test::small_model(4, 2)) {
    random_gates(default_gate_config("Qavg_Kavg", model_), model_).save(folder_.path());
  }

  std::string load() const {
    return test::runtime_error_of([&] { GateSet::load(folder_.path(), model_); });
  }

  void write_tensors(const std::vector<test::StoredTensor>& tensors) const {
    folder_.write("gates.safetensors", test::safetensors_file(tensors));
  }

  static test::StoredTensor tensor(int layer, const std::string& dtype = "F32",
                                   std::vector<std::int64_t> shape = {4, 8, 8}, float value = 1) {
    std::int64_t count = 1;
    for (const std::int64_t size : shape) count *= size;
    std::string bytes = test::bytes_of(std::vector<float>(static_cast<std::size_t>(count), value));
    if (dtype == "BF16") bytes.resize(bytes.size() / 2);
    return {"model.layers." + std::to_string(layer) + ".self_attn.attn_gate.mask_linear_k.weight",
            dtype, std::move(shape), bytes};
  }

  ModelConfig model_;
  test::TemporaryFolder folder_;
};

TEST_F(BrokenAdapter, IsWholeAtFirst) {
  EXPECT_EQ(load(), "");
  write_tensors({tensor(0, "BF16"), tensor(1)});
  EXPECT_EQ(load(), "");
}

TEST_F(BrokenAdapter, OtherModel) {
  model_.num_kv_heads = 1;
  expect_words(load(), {"gate_config.json", "num_kv_heads", "the gates need 2", "has 1"});
}

TEST_F(BrokenAdapter, TensorsThatDoNotFit) {
  write_tensors({tensor(0)});
  expect_words(load(), {"gates.safetensors", "missing", "model.layers.1."});
  write_tensors({tensor(0), tensor(1), tensor(2)});
  expect_words(load(), {"unexpected", "model.layers.2."});
  write_tensors({tensor(0), tensor(1, "F32", {4, 8, 4})});
  expect_words(load(), {"model.layers.1.", "[4, 8, 8]", "[4, 8, 4]"});
  write_tensors({tensor(0), tensor(1, "I32")});
  expect_words(load(), {"model.layers.1.", "I32"});
  for (const float value :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    test::StoredTensor bad = tensor(1);
    std::memcpy(bad.bytes.data() + 400, &value, sizeof value);
    write_tensors({tensor(0), bad});
    expect_words(load(), {"model.layers.1.", "not finite"});
  }
}

TEST_F(BrokenAdapter, EveryByteOfTheFilesMayBeWrong) {
  for (const char* name : {"gate_config.json", "gates.safetensors"}) {
    const std::string good = test::read_bytes(folder_.path() / name);
    const std::size_t header = std::min<std::size_t>(good.size(), 1500);
    for (std::size_t i = 0; i < header; i += 3) {
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ 0x15);
      folder_.write(name, bad);
      // Refused with a message, or a change that means nothing; never another kind of exception.
      EXPECT_NO_THROW((void)load()) << name << " byte " << i;
    }
    for (const std::size_t length :
         {std::size_t{0}, std::size_t{7}, good.size() / 2, good.size() - 1}) {
      folder_.write(name, good.substr(0, length));
      // The line break at the end of the JSON may go.
      if (good.substr(0, length) + "\n" == good) continue;
      EXPECT_NE(load(), "") << name << " " << length;
    }
    folder_.write(name, good);
  }
  fs::remove(folder_.path() / "gates.safetensors");
  expect_words(load(), {"gates.safetensors", "no such file"});
}

// A published adapter by hand.
class PublishedAdapter : public testing::Test {
 protected:
  PublishedAdapter() : model_(test::small_model(6, 2)) {
    config_ = {{"model_type", "llama"},     {"hidden_size", 48},
               {"num_hidden_layers", 2},    {"num_attention_heads", 6},
               {"num_key_value_heads", 2},  {"vocab_size", 64},
               {"base_model", "org/small"}, {"seerattn_gate_hidden_size", 8}};
    for (int layer = 0; layer < 2; ++layer) {
      tensors_.emplace_back(
          "model.layers." + std::to_string(layer) + ".self_attn.attn_gate.mask_linear_k.weight",
          at::randn({6, 24, 8}).to(at::kBFloat16));
    }
  }

  void write() const {
    folder_.write("config.json", config_.dump());
    fs::remove(folder_.path() / "attn_gate_weights.pth");
    OutputFile file(folder_.path() / "attn_gate_weights.pth");
    write_torch_tensors(file, tensors_);
    file.finish();
  }

  std::string import() const {
    write();
    return test::runtime_error_of(
        [&] { import_published_adapter(folder_.path(), model_, out_.path() / "in"); });
  }

  ModelConfig model_;
  nlohmann::json config_;
  std::vector<NamedTensor> tensors_;
  test::TemporaryFolder folder_, out_;
};

TEST_F(PublishedAdapter, ImportKeepsTypesAndExportGivesItBack) {
  ASSERT_EQ(import(), "");
  const fs::path in = out_.path() / "in";
  const AdapterInfo info = read_adapter_info(in);
  EXPECT_EQ(info.config.base_model, "org/small");
  EXPECT_EQ(info.config.design, "Qavg_Kmaxminavg");  // the published default
  EXPECT_EQ(info.tensors.at(0).dtype, "BF16");
  const GateSet gates = GateSet::load(in, model_);
  EXPECT_TRUE(at::equal(gates.layer(1).parameters()[0].value, tensors_[1].second.to(at::kFloat)));
  export_published_adapter(in, out_.path() / "back");
  const auto back = read_torch_tensors(out_.path() / "back" / "attn_gate_weights.pth");
  ASSERT_EQ(back.size(), 2u);
  for (std::size_t i = 0; i < back.size(); ++i) {
    EXPECT_EQ(back[i].first, tensors_[i].first);
    EXPECT_EQ(back[i].second.scalar_type(), at::kBFloat16);
    EXPECT_TRUE(at::equal(back[i].second, tensors_[i].second));
  }
  const auto json = nlohmann::json::parse(test::read_bytes(out_.path() / "back" / "config.json"));
  for (const auto& [key, value] : config_.items()) EXPECT_EQ(json[key], value) << key;
  EXPECT_EQ(json["seerattn_gate_type"], "Qavg_Kmaxminavg");
  EXPECT_EQ(json["seerattn_gate_force_double"], false);
}

TEST_F(PublishedAdapter, DecodeGatesAreKept) {
  tensors_.clear();
  config_["seerattn_use_qk_norm"] = true;
  for (int layer = 0; layer < 2; ++layer) {
    const std::string prefix =
        "model.layers." + std::to_string(layer) + ".self_attn.attn_gate.attngate_";
    tensors_.emplace_back(prefix + "knorm.weight", at::randn({8}).to(at::kBFloat16));
    tensors_.emplace_back(prefix + "linear_k.weight", at::randn({2, 24, 8}).to(at::kHalf));
    tensors_.emplace_back(prefix + "linear_q.weight", at::randn({2, 3, 8, 8}));
    tensors_.emplace_back(prefix + "qnorm.weight", at::randn({8}).to(at::kBFloat16));
  }
  ASSERT_EQ(import(), "");
  const AdapterInfo info = read_adapter_info(out_.path() / "in");
  EXPECT_EQ(info.config.kind, GateKind::kDecode);
  EXPECT_EQ(info.config.design, "Qproj_Kmaxminavg");
  EXPECT_TRUE(info.config.qk_norm);
  expect_words(test::runtime_error_of([&] { GateSet::load(out_.path() / "in", model_); }),
               {"decode"});
  export_published_adapter(out_.path() / "in", out_.path() / "back");
  const auto back = read_torch_tensors(out_.path() / "back" / "attn_gate_weights.pth");
  ASSERT_EQ(back.size(), tensors_.size());
  for (std::size_t i = 0; i < back.size(); ++i) {
    EXPECT_EQ(back[i].first, tensors_[i].first);
    EXPECT_TRUE(at::equal(back[i].second, tensors_[i].second));
  }
}

TEST_F(PublishedAdapter, WhatIsRefused) {
  const auto with = [&](const char* key, nlohmann::json value) {
    const nlohmann::json before = config_;
    config_[key] = std::move(value);
    const std::string message = import();
    config_ = before;
    return message;
  };
  expect_words(with("num_hidden_layers", 3),
               {"config.json", "num_hidden_layers is 3", "2", "org/small"});
  expect_words(with("rope_theta", 5e5), {"rope_theta", "10000"});
  expect_words(with("vocab_size", 65), {"vocab_size is 65"});
  expect_words(with("seerattn_gate_type", "Qavg16_Kavg"), {"seerattn_gate_type", "49"});
  expect_words(with("seerattn_gate_type", "Qattn_Kavg"), {"Qattn_Kavg"});
  expect_words(with("seerattn_gate_block_size", 48), {"48"});
  expect_words(with("seerattn_gate_type", "Qavg_Kmax"), {"[6, 8, 8]", "[6, 24, 8]"});
  expect_words(with("seerattn_gate_force_double", true), {"attn_gate_weights.pth"});
  tensors_[1].second.view(-1)[5] = std::numeric_limits<float>::quiet_NaN();
  expect_words(import(), {"model.layers.1.", "not finite"});
  tensors_.pop_back();
  expect_words(import(), {"missing", "model.layers.1."});
  EXPECT_FALSE(fs::exists(out_.path() / "in"));
}

TEST(PublishedExport, SettingsWithoutAWord) {
  const ModelConfig model = test::small_model(6, 2);
  const test::TemporaryFolder folder;
  const auto refused = [&](GateConfig config) {
    config.published = "{}";
    const fs::path adapter = folder.path() / "adapter";
    GateSet(config, model).save(adapter);
    return test::runtime_error_of(
        [&] { export_published_adapter(adapter, folder.path() / "out"); });
  };
  const GateConfig plain = default_gate_config("Qavg_Kmaxminavg", model);
  EXPECT_EQ(refused(plain), "");
  EXPECT_EQ(refused(default_gate_config("Qavg64_Kmaxminavg", model)), "");
  EXPECT_EQ(refused(default_gate_config("Qavg_Kavg", model, 32, 16)), "");
  expect_words(refused(default_gate_config("Qavg16_Kmaxminavg", model)), {"finer", "exported"});
  GateConfig config = plain;
  config.qk_norm = true;
  expect_words(refused(config), {"qk_norm"});
  config = plain;
  config.use_rope = false;
  expect_words(refused(config), {"use_rope"});
  config = plain;
  config.key_heads = KeyHeads::kKv;
  expect_words(refused(config), {"key_heads"});
  config = default_gate_config("Qavg_Kavg", model);
  config.published = "";
  GateSet(config, model).save(folder.path() / "own");
  expect_words(test::runtime_error_of(
                   [&] { export_published_adapter(folder.path() / "own", folder.path() / "out"); }),
               {"--model"});
}

// A design of one's own: the score of a block pair is the product of averages, scaled by an option.
class ScaledMeanGate : public Gate {
 public:
  ScaledMeanGate(const GateConfig& config, const ModelConfig& model)
      : Gate(config, model, config.block_size, config.block_size),
        scale_(add_parameter("scale.weight", {1})),
        factor_(config.number_option("factor", 1)) {}
  at::Tensor query_representatives(const at::Tensor& q, std::int64_t) const override {
    return q.mean(2, true) * scale_ * factor_;
  }
  at::Tensor key_representatives(const at::Tensor& k, std::int64_t) const override {
    return k.mean(2, true);
  }

 private:
  at::Tensor scale_;
  double factor_;
};

TEST(GateRegistry, DesignsOfOnesOwn) {
  const GateFactory make = [](const GateConfig& config, const ModelConfig& model) {
    return std::make_unique<ScaledMeanGate>(config, model);
  };
  const GateRegistration registration("scaled-mean", make);
  EXPECT_THROW(register_gate_design("scaled-mean", make), std::invalid_argument);
  EXPECT_THROW(register_gate_design("Qavg_Kavg", make), std::invalid_argument);
  EXPECT_THROW(register_gate_design("a b", make), std::invalid_argument);
  EXPECT_THROW(register_gate_design("empty", nullptr), std::invalid_argument);
  const ModelConfig model = test::small_model(4, 2);
  GateConfig config = default_gate_config("scaled-mean", model);
  config.options["factor"] = 2.0;
  GateSet gates(config, model);
  EXPECT_THROW(gates.initialise(GateInit::kIdentity, 1), std::invalid_argument);
  gates.initialise(GateInit::kNormal, 1);
  const test::TemporaryFolder folder;
  gates.save(folder.path());
  const GateSet read = GateSet::load(folder.path(), model);
  EXPECT_TRUE(same_parameters(gates, read));
  const auto input = test::random_input(model, 1, 64, 64);
  const Gate& gate = read.layer(0);
  const at::Tensor logits = gate.block_logits(gate.query_representatives(input.q, 0),
                                              gate.key_representatives(input.k, 0), 64, 64);
  const at::Tensor expected =
      (input.q.mean(2) * input.k.mean(2).repeat_interleave(2, 1)).sum(-1) * 2 / std::sqrt(8.0);
  EXPECT_TRUE(at::allclose(logits.view({1, 4}), expected, 1e-4, 1e-6));
  config.design = "scaled-meen";
  try {
    make_gate(config, model);
    FAIL() << "accepted";
  } catch (const std::invalid_argument& error) {
    expect_words(error.what(), {"scaled-meen", "registered designs: scaled-mean"});
  }
}

}  // namespace
}  // namespace seer
