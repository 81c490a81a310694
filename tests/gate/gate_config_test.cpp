// Names, defaults, gate_config.json, fingerprint and calibration.
#include "seer/gate_config.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>

#include "gate_case.h"
#include "seer/gate.h"
#include "support/model_files.h"

namespace seer {
namespace {

std::string refusal_of(const auto& action) {
  try {
    action();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

void expect_words(const std::string& message, const std::vector<std::string>& words) {
  for (const std::string& word : words) EXPECT_NE(message.find(word), message.npos) << message;
  EXPECT_FALSE(message.empty());
}

TEST(GateDesign, All49NamesAreReadAndPrinted) {
  const std::vector<std::string> names = published_gate_designs();
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), 49u);
  for (const std::string& name : names) {
    const GateDesign design = GateDesign::parse(name);
    EXPECT_EQ(design.to_string(), name);
    EXPECT_TRUE(design.is_published());
  }
}

TEST(GateDesign, FinerNames) {
  const GateDesign design = GateDesign::parse("Qavg4_Kmaxminavg16");
  EXPECT_EQ(design.q.tokens_of(64), 4);
  EXPECT_EQ(design.k.tokens_of(64), 16);
  EXPECT_EQ(design.k.kinds(), "maxminavg");
  EXPECT_FALSE(design.is_published());
  for (const char* name : {"Qavg4_Kmaxminavg16", "Qavg16_Kmaxminavg", "Qavg1_Kmax", "Qavg_Kmin128"})
    EXPECT_EQ(GateDesign::parse(name).to_string(), name);
  EXPECT_EQ(GateDesign::parse("Qavg_Kavg").q.tokens_of(32), 32);
}

TEST(GateDesign, NamesThatAreNone) {
  for (const char* name :
       {"", "Q", "Qavg", "Qavg_", "Qavg_K", "Kavg_Qavg", "Qminmax_Kavg", "Qavgmax_Kavg",
        "Qavg0_Kavg", "Qavg016_Kavg", "Qavg-4_Kavg", "Qavg256_Kavg", "Qavg_Kavg ", " Qavg_Kavg",
        "qavg_kavg", "Qavg_Kmaxmaxavg", "Qavg_Kavg16x", "Qmaxmin1_Kavg",
        "Qavg99999999999999999999_Kavg"}) {
    expect_words(refusal_of([&] { GateDesign::parse(name); }), {"gate design", "expected"});
  }
  const GateDesign design = GateDesign::parse("Qavg48_Kavg");
  expect_words(refusal_of([&] { design.check_block_size(64); }), {"48", "64", "divide"});
  expect_words(refusal_of([&] { GateDesign::parse("Qavg_Kavg128").check_block_size(64); }),
               {"128", "64"});
  expect_words(refusal_of([&] { GateDesign::parse("Qavg_Kavg").check_block_size(48); }), {"48"});
}

TEST(GateConfig, DefaultsFollowThePublishedRule) {
  const ModelConfig model = test::small_model(6, 2);
  const auto shapes = [&](const char* design, std::int64_t width = 0, bool force_double = false) {
    std::string text;
    const GateConfig config = default_gate_config(design, model, 64, width, force_double);
    const auto gate = make_gate(config, model);
    for (const GateParameter& parameter : gate->parameters()) {
      text.append(parameter.name, 0, parameter.name.find('.'));
      for (const std::int64_t size : parameter.value.sizes())
        text.append(" ").append(std::to_string(size));
      text += ";";
    }
    return text;
  };
  EXPECT_EQ(shapes("Qavg_Kmaxminavg"), "mask_linear_k 6 24 8;");
  EXPECT_EQ(shapes("Qavg_Kmaxmin"), "mask_linear_k 6 16 8;");
  EXPECT_EQ(shapes("Qmax_Kmin"), "mask_linear_k 6 8 8;");
  EXPECT_EQ(shapes("Qmaxavg_Kmaxminavg"), "mask_linear_q 6 16 8;mask_linear_k 2 24 8;");
  EXPECT_EQ(shapes("Qavg_Kmaxminavg", 16), "mask_linear_q 6 8 16;mask_linear_k 2 24 16;");
  EXPECT_EQ(shapes("Qavg_Kmaxminavg", 0, true), "mask_linear_q 6 8 8;mask_linear_k 2 24 8;");
  EXPECT_EQ(shapes("Qavg16_Kmaxminavg"), "mask_linear_q 6 8 8;mask_linear_k 6 24 8;");
  EXPECT_EQ(shapes("Qavg64_Kmaxminavg64"), "mask_linear_k 6 24 8;");  // the block size by number
}

TEST(GateConfig, WhatCannotBe) {
  const ModelConfig model = test::small_model(6, 2);
  const auto refused = [&](auto change) {
    GateConfig config = default_gate_config("Qavg_Kmaxminavg", model);
    change(config);
    return refusal_of([&] { check_gate_config(config, model); });
  };
  expect_words(refused([](GateConfig& c) { c.project_keys = false; }),
               {"project_keys", "Kmaxminavg"});
  expect_words(refused([](GateConfig& c) { c.width = 16; }), {"project_queries", "16", "8"});
  expect_words(refused([](GateConfig& c) { c.width = 7; }), {"gate_hidden_size", "7", "even"});
  expect_words(refused([](GateConfig& c) { c.block_size = 48; }), {"block_size", "48"});
  expect_words(refused([](GateConfig& c) { c.design = "Qmean_Kavg"; }), {"Qmean_Kavg"});
  GateConfig decode = default_gate_config("Qavg_Kmaxminavg", model);
  decode.kind = GateKind::kDecode;
  decode.design = "Qproj_Kmaxminavg";
  EXPECT_NO_THROW(check_gate_config(decode, model));
  expect_words(refusal_of([&] { make_gate(decode, model); }), {"decode", "prefill"});
}

TEST(GateConfig, JsonRoundTrip) {
  const ModelConfig model = test::small_model(6, 2);
  GateConfig config = default_gate_config("Qavg16_Kmaxminavg", model, 32, 16);
  config.qk_norm = true;
  config.options = {{"a", 1.5}, {"b", true}, {"c", std::string("text")}};
  config.training = R"({"steps": 10, "loss": [0.5, 0.25]})";
  config.calibration.layers = 2;
  config.calibration.heads = 3;
  config.calibration.rows = {{1024, 0.1, {0.1, 0.2, 0.3, 0.4, 0.5, 0.1 + 0.2}}};
  const std::string text = gate_config_json(config);
  const GateConfig read = parse_gate_config(text, "gate_config.json");
  EXPECT_EQ(gate_config_json(read), text);
  EXPECT_EQ(read.calibration.rows[0].thresholds, config.calibration.rows[0].thresholds);
  EXPECT_EQ(read.number_option("a", 0), 1.5);
  EXPECT_TRUE(read.bool_option("b", false));
  EXPECT_EQ(read.text_option("c", ""), "text");
  EXPECT_EQ(read.number_option("absent", 7), 7);
  EXPECT_THROW(read.number_option("c", 0), std::invalid_argument);
  EXPECT_NO_THROW(check_base_model(read, model, "gate_config.json"));
}

TEST(GateConfig, FieldsOfTheFile) {
  const ModelConfig model = test::small_model(6, 2);
  const std::string good = gate_config_json(default_gate_config("Qavg_Kmaxminavg", model));
  const auto refused = [&](const char* pointer, nlohmann::json value) {
    nlohmann::json json = nlohmann::json::parse(good);
    json[nlohmann::json::json_pointer(pointer)] = std::move(value);
    return test::runtime_error_of([&] { parse_gate_config(json.dump(), "g.json"); });
  };
  expect_words(refused("/format_version", 2), {"g.json", "format_version is 2", "expected 1"});
  expect_words(refused("/kind", "both"), {"kind is \"both\"", "prefill or decode"});
  expect_words(refused("/design", 3), {"design is 3"});
  expect_words(refused("/block_size", "64"), {"block_size is \"64\""});
  expect_words(refused("/key_heads", "all"), {"key_heads", "query or kv"});
  expect_words(refused("/use_rope", 1), {"use_rope is 1"});
  expect_words(refused("/qk_norm", nullptr), {"qk_norm is missing"});
  expect_words(refused("/options", nlohmann::json{{"a", nlohmann::json::array()}}), {"options.a"});
  expect_words(refused("/base_model", "m"), {"base_model"});
  expect_words(refused("/base_model/config", "m"), {"base_model.config"});
  expect_words(refused("/training", "m"), {"training"});
  const auto row = [&](nlohmann::json value) {
    return refused("/calibration", {{"rows", {std::move(value)}}});
  };
  expect_words(row({{"length", 0}, {"density", 0.1}, {"threshold", 0.1}}), {"rows[0].length"});
  expect_words(row({{"length", 9}, {"density", 1.5}, {"threshold", 0.1}}), {"row 0", "1.5"});
  expect_words(row({{"length", 9}, {"density", 0.5}, {"threshold", 0}}), {"row 0", "threshold"});
  expect_words(row({{"length", 9}, {"density", 0.5}, {"threshold", {0.1, {0.1}}}}), {"threshold"});
  expect_words(row({{"length", 9}, {"density", 0.5}, {"threshold", {{0.1}, {0.1, 0.2}}}}),
               {"threshold", "same"});
  expect_words(row({{"length", 9}, {"density", 0.5}}), {"threshold"});
}

TEST(GateConfig, AnotherModelIsRefusedByField) {
  const ModelConfig model = test::small_model(6, 2);
  const GateConfig config = default_gate_config("Qavg_Kmaxminavg", model);
  ModelConfig other = model;
  other.name = "other";
  EXPECT_NO_THROW(check_base_model(config, other, "g.json"));  // the name is for people
  other.rope.theta = 5e5;
  other.vocab_size = 65;
  expect_words(
      test::runtime_error_of([&] { check_base_model(config, other, "g.json"); }),
      {"g.json", "small", "other", "rope.theta: the gates need 10000.0, the model has 500000.0",
       "vocab_size: the gates need 64, the model has 65"});
  other = model;
  other.rope.kind = RopeKind::kYarn;
  other.rope.factor = 4.0;
  other.rope.original_max_positions = 1024;
  expect_words(test::runtime_error_of([&] { check_base_model(config, other, "g.json"); }),
               {"rope.factor: the gates need absent, the model has 4.0", "yarn"});
  GateConfig edited = config;
  edited.fingerprint[0] = edited.fingerprint[0] == 'a' ? 'b' : 'a';
  expect_words(test::runtime_error_of([&] { check_base_model(edited, model, "g.json"); }),
               {"fingerprint", "edited"});
}

TEST(Calibration, InterpolatesInLogarithms) {
  CalibrationTable table;
  table.rows = {
      {1000, 0.1, {0.04}}, {1000, 0.4, {0.01}}, {4000, 0.1, {0.01}}, {4000, 0.4, {0.0025}}};
  table.check();
  EXPECT_DOUBLE_EQ(table.threshold_for(0.1, 1000), 0.04);
  EXPECT_DOUBLE_EQ(table.threshold_for(0.4, 4000), 0.0025);
  EXPECT_NEAR(table.threshold_for(0.2, 1000), 0.02, 1e-12);
  EXPECT_NEAR(table.threshold_for(0.1, 2000), 0.02, 1e-12);
  EXPECT_NEAR(table.threshold_for(0.2, 2000), 0.01, 1e-12);
  EXPECT_NEAR(table.threshold_for(0.1, 8000), 0.005, 1e-12);  // continued
  EXPECT_NEAR(table.threshold_for(0.08, 1000), 0.05, 1e-12);
  EXPECT_EQ(table.threshold_for(1.0, 123456), 0.0);
  expect_words(refusal_of([&] { table.threshold_for(0.1, 8001); }),
               {"length 8001", "1000 to 4000", "2"});
  expect_words(refusal_of([&] { table.threshold_for(0.1, 499); }), {"length 499"});
  expect_words(refusal_of([&] { table.threshold_for(0.07, 1000); }),
               {"density 0.07", "0.1 to 0.4"});
  for (const double density : {0.0, -1.0, 1.5, std::nan("")})
    EXPECT_THROW(table.threshold_for(density, 1000), std::invalid_argument);
  expect_words(refusal_of([&] { CalibrationTable().threshold_for(0.1, 1000); }),
               {"no calibration"});
}

TEST(Calibration, ByLayerAndHead) {
  CalibrationTable table;
  table.layers = 2;
  table.heads = 2;
  table.rows = {{1000, 0.1, {0.1, 0.2, 0.3, 0.4}}};
  table.check();
  EXPECT_DOUBLE_EQ(table.threshold_for(0.1, 1500, 1, 0), 0.3);
  EXPECT_EQ(table.thresholds_for(0.1, 1000).size(), 4u);
  EXPECT_THROW(table.threshold_for(0.1, 1000, 2, 0), std::invalid_argument);
  table.rows.push_back(table.rows[0]);
  expect_words(refusal_of([&] { table.check(); }), {"row 1", "second"});
  table.rows[1].thresholds.pop_back();
  EXPECT_THROW(table.check(), std::invalid_argument);
}

}  // namespace
}  // namespace seer
