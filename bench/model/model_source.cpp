#include "bench/model/model_source.h"

#include <fmt/format.h>

#include <random>
#include <stdexcept>

#include "bench/model/model_shapes.h"

namespace seer::bench {

void require_flag(bool holds, const char* flag, std::int64_t value, const char* expected) {
  if (holds) return;
  throw std::invalid_argument(fmt::format("{} {}: expected {}", flag, value, expected));
}

ModelConfig config_of(const ModelSource& source) {
  if (source.shape.empty() == source.folder.empty()) {
    throw std::invalid_argument("expected either --shape or --model");
  }
  return source.shape.empty() ? read_model_config(source.folder) : model_shape(source.shape);
}

Model make_model(const ModelSource& source, const ModelConfig& config) {
  const ModelOptions options{.dtype = source.dtype, .device = source.device};
  if (!source.shape.empty()) return Model::random(config, options, source.seed);
  return Model(config, Checkpoint::open(source.folder), options);
}

GateSet make_gates(const ModelSource& source, const ModelConfig& config) {
  if (!source.gates.empty()) {
    GateSet gates = GateSet::load(source.gates, config);
    gates.to(source.device);
    return gates;
  }
  GateSet gates(default_gate_config(source.design, config, source.block_size), config);
  gates.initialise(GateInit::kNormal, source.seed);
  gates.to(source.device);
  return gates;
}

std::vector<TokenId> random_tokens(const ModelConfig& config, std::int64_t index,
                                   std::int64_t length) {
  std::mt19937_64 random(static_cast<std::uint64_t>(index));
  std::vector<TokenId> tokens;
  tokens.reserve(static_cast<std::size_t>(length));
  for (std::int64_t i = 0; i < length; ++i) {
    tokens.push_back(
        static_cast<TokenId>(random() % static_cast<std::uint64_t>(config.vocab_size)));
  }
  return tokens;
}

double operations_of_pass(const ModelConfig& config, std::int64_t length, double density) {
  const auto as_double = [](std::int64_t value) { return static_cast<double>(value); };
  const double hidden = as_double(config.hidden_size);
  const double q_width = as_double(config.num_q_heads * config.head_dim);
  const double kv_width = as_double(config.num_kv_heads * config.head_dim);
  const double layer =
      hidden * (2 * q_width + 2 * kv_width + 3 * as_double(config.intermediate_size));
  const double tokens = as_double(length);
  // Half of the square is visible.
  const double attention = 2 * tokens * q_width * density;
  return as_double(config.num_layers) * tokens * (2 * layer + attention);
}

}  // namespace seer::bench
