#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <stdexcept>
#include <string>
#include <system_error>

#include "base/quote.h"
#include "seer/finetune.h"

namespace seer {
namespace {

const char* kind_name(RopeKind kind) {
  switch (kind) {
    case RopeKind::kDefault: return "default";
    case RopeKind::kLinear: return "linear";
    case RopeKind::kLlama3: return "llama3";
    case RopeKind::kYarn: return "yarn";
  }
  return "unknown";
}

}  // namespace

std::string RopeScaling::to_string() const {
  return fmt::format("{}:{}", kind_name(kind), factor);
}

RopeScaling parse_rope_scaling(std::string_view text) {
  const std::size_t colon = text.find(':');
  const std::string_view name = text.substr(0, colon);
  for (const RopeKind kind : {RopeKind::kYarn, RopeKind::kLinear, RopeKind::kLlama3}) {
    if (name != kind_name(kind) || colon == std::string_view::npos) continue;
    RopeScaling scaling{.kind = kind};
    const char* const end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data() + colon + 1, end, scaling.factor);
    if (error == std::errc() && rest == end && std::isfinite(scaling.factor) && scaling.factor > 1)
      return scaling;
  }
  throw std::invalid_argument("rope scaling " + quote(text) +
                              ": expected yarn:F, linear:F or llama3:F with a factor F above 1, "
                              "such as yarn:4");
}

ModelConfig scale_rope(const ModelConfig& model, const RopeScaling& scaling) {
  if (model.rope.kind != RopeKind::kDefault) {
    throw std::invalid_argument(fmt::format(
        "rope scaling {}: the positions of {} are scaled already ({}, factor {}): "
        "expected a model without; to train it as it is, leave the scaling away",
        scaling.to_string(), model.name, kind_name(model.rope.kind), model.rope.factor));
  }
  ModelConfig scaled = model;
  const double positions = std::round(static_cast<double>(model.max_positions) * scaling.factor);
  constexpr double kMostPositions = 2147483647;
  if (positions > kMostPositions) {
    throw std::invalid_argument(fmt::format("rope scaling {}: {} positions are more than {}",
                                            scaling.to_string(), positions, kMostPositions));
  }
  scaled.max_positions = static_cast<std::int64_t>(positions);
  scaled.rope.kind = scaling.kind;
  scaled.rope.factor = scaling.factor;
  if (scaling.kind != RopeKind::kLinear) scaled.rope.original_max_positions = model.max_positions;
  return scaled;
}

GateSet adapt_gates(const std::filesystem::path& folder, const ModelConfig& model,
                    const ModelConfig& extended) {
  const GateConfig made = read_gate_config(folder);
  GateConfig wanted = made;
  set_base_model(extended, wanted);
  if (wanted.fingerprint == made.fingerprint) return GateSet::load(folder, extended);
  const GateSet before = GateSet::load(folder, model);
  wanted.calibration = CalibrationTable();
  wanted.published.clear();
  GateSet gates(wanted, extended);
  const std::vector<GateParameter> from = before.parameters(), to = gates.parameters();
  for (std::size_t i = 0; i < to.size(); ++i) at::Tensor(to[i].value).copy_(from[i].value);
  return gates;
}

}  // namespace seer
