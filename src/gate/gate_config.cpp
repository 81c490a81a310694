#include "seer/gate_config.h"

#include <stdexcept>

#include "base/quote.h"
#include "gate/decode_design.h"
#include "gate/gate_registry.h"

namespace seer {
namespace {

constexpr std::int64_t kMaxWidth = 1024;

[[noreturn]] void fail(const std::string& field, const std::string& value,
                       const std::string& what) {
  throw std::invalid_argument("gate configuration: " + field + " is " + value + ": " + what);
}

bool same_tokens(const GateDesign& design, std::int64_t block_size) {
  return design.q.tokens_of(block_size) == block_size &&
         design.k.tokens_of(block_size) == block_size;
}

// Throws for a map that is needed and absent.
void check_map(const char* field, bool present, const GatePooling& pooling,
               const GateConfig& config, const ModelConfig& model) {
  if (present || (pooling.num_kinds() == 1 && config.width == model.head_dim)) return;
  fail(field, "false",
       "design " + config.design + " with width " + std::to_string(config.width) +
           " needs the map: without it there is one kind of pooling, and the width is head_dim, " +
           std::to_string(model.head_dim));
}

void check_pooled_design(const GateConfig& config, const ModelConfig& model) {
  const GateDesign design = GateDesign::parse(config.design);
  design.check_block_size(config.block_size);
  check_map("project_queries", config.project_queries, design.q, config, model);
  check_map("project_keys", config.project_keys, design.k, config, model);
}

void check_decode_design(const GateConfig& config, const ModelConfig& model) {
  const DecodeDesign design = DecodeDesign::parse(config.design);
  if (design.query == "Qavg" && config.width != model.head_dim) {
    fail("gate_hidden_size", std::to_string(config.width),
         "Qavg has no map of the queries: expected head_dim, " + std::to_string(model.head_dim));
  }
}

template <typename T>
T option(const GateConfig& config, std::string_view name, T default_value, const char* expected) {
  const auto found = config.options.find(std::string(name));
  if (found == config.options.end()) return default_value;
  if (const T* value = std::get_if<T>(&found->second)) return *value;
  throw std::invalid_argument("gate configuration: options." + std::string(name) + ": expected " +
                              expected);
}

}  // namespace

double GateConfig::number_option(std::string_view name, double default_value) const {
  return option(*this, name, default_value, "a number");
}

bool GateConfig::bool_option(std::string_view name, bool default_value) const {
  return option(*this, name, default_value, "true or false");
}

std::string GateConfig::text_option(std::string_view name, std::string_view default_value) const {
  return option(*this, name, std::string(default_value), "a string");
}

GateConfig default_gate_config(std::string_view design, const ModelConfig& model,
                               std::int64_t block_size, std::int64_t width, bool force_double) {
  GateConfig config;
  config.design = design;
  config.block_size = block_size;
  config.width = width == 0 ? model.head_dim : width;
  if (!find_gate_factory(design)) {
    const GateDesign pooled = GateDesign::parse(design);
    pooled.check_block_size(block_size);
    if (same_tokens(pooled, block_size)) {
      config.project_queries =
          pooled.q.num_kinds() > 1 || config.width != model.head_dim || force_double;
      config.key_heads = config.project_queries ? KeyHeads::kKv : KeyHeads::kQuery;
    } else {
      config.project_queries = true;
      config.key_heads = KeyHeads::kQuery;
    }
  }
  set_base_model(model, config);
  check_gate_config(config, model);
  return config;
}

void check_gate_config(const GateConfig& config, const ModelConfig& model) {
  const std::int64_t block = config.block_size;
  if (block != 16 && block != 32 && block != 64 && block != 128)
    fail("block_size", std::to_string(block), "expected 16, 32, 64 or 128");
  if (config.width < 2 || config.width > kMaxWidth || config.width % 2 != 0) {
    fail("gate_hidden_size", std::to_string(config.width),
         "expected an even number from 2 to " + std::to_string(kMaxWidth));
  }
  config.calibration.check();
  const std::int64_t layers = config.calibration.layers;
  const std::int64_t heads = config.calibration.heads;
  if ((layers != 0 && layers != model.num_layers) || (heads != 0 && heads != model.num_q_heads)) {
    fail("calibration", std::to_string(layers) + " layers and " + std::to_string(heads) + " heads",
         "the model has " + std::to_string(model.num_layers) + " and " +
             std::to_string(model.num_q_heads));
  }
  if (config.kind == GateKind::kDecode) return check_decode_design(config, model);
  if (find_gate_factory(config.design)) return;
  try {
    check_pooled_design(config, model);
  } catch (const std::invalid_argument& error) {
    std::string registered;
    for (const std::string& name : registered_gate_designs())
      registered += (registered.empty() ? "" : ", ") + name;
    if (registered.empty()) throw;
    throw std::invalid_argument(error.what() + std::string("; registered designs: ") + registered);
  }
}

}  // namespace seer
