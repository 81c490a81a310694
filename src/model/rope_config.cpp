#include "model/rope_config.h"

#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

namespace seer {
namespace {

constexpr double kDefaultTheta = 10000.0;  // transformers', where config.json has none

// rope_scaling comes first where both are there. Newer files may nest the parameters by the type of the layer; only
// full attention is supported here.
std::optional<ConfigFields> rope_fields(const ConfigFields& config) {
  for (const char* field : {"rope_scaling", "rope_parameters"}) {
    auto fields = config.object(field);
    if (!fields || fields->json().empty()) continue;
    auto nested = fields->object("full_attention");
    return nested ? nested : fields;
  }
  return std::nullopt;
}

RopeKind rope_kind(const ConfigFields& rope) {
  const char* field = rope.has("rope_type") ? "rope_type" : "type";
  const std::string kind = rope.text(field).value_or("default");
  if (kind == "default") return RopeKind::kDefault;
  if (kind == "linear") return RopeKind::kLinear;
  if (kind == "llama3") return RopeKind::kLlama3;
  if (kind == "yarn") return RopeKind::kYarn;
  rope.fail(field, "not supported (supported: default, linear, llama3, yarn)");
}

double required_positive(const ConfigFields& rope, const char* field) {
  const auto value = rope.positive_number(field);
  if (!value) rope.fail(field, "this kind of rotary embedding needs it: expected a number above 0");
  return *value;
}

// The length before scaling; the top level's word counts first.
std::int64_t original_positions(const ConfigFields& config, const ConfigFields& rope,
                                std::int64_t max_positions) {
  constexpr const char* kField = "original_max_position_embeddings";
  if (const auto top = config.size(kField)) return *top;
  return rope.size(kField).value_or(max_positions);
}

void read_llama3(const ConfigFields& rope, RopeConfig& out) {
  out.factor = required_positive(rope, "factor");
  out.low_freq_factor = required_positive(rope, "low_freq_factor");
  out.high_freq_factor = required_positive(rope, "high_freq_factor");
  if (out.high_freq_factor <= out.low_freq_factor) {
    rope.fail("high_freq_factor",
              "expected more than low_freq_factor, " + std::to_string(out.low_freq_factor));
  }
}

// 0 counts as absent, as in transformers.
std::optional<double> number_but_zero(const ConfigFields& rope, const char* field) {
  const auto value = rope.number(field);
  return value && *value != 0 ? value : std::nullopt;
}

void read_yarn(const ConfigFields& rope, std::int64_t max_positions, RopeConfig& out) {
  out.factor = rope.positive_number("factor").value_or(
      static_cast<double>(max_positions) / static_cast<double>(out.original_max_positions));
  for (const auto& [field, value] :
       {std::pair("beta_fast", &out.beta_fast), {"beta_slow", &out.beta_slow}}) {
    if (number_but_zero(rope, field)) *value = *rope.positive_number(field);
  }
  out.mscale = number_but_zero(rope, "mscale");
  out.mscale_all_dim = number_but_zero(rope, "mscale_all_dim");
  out.attention_factor = rope.number("attention_factor");
  if (out.attention_factor && *out.attention_factor < 0) {
    rope.fail("attention_factor", "expected a number from 0");
  }
  out.truncate = rope.boolean("truncate").value_or(true);
  if (out.theta <= 1) {
    throw std::runtime_error(rope.source() + ": rope_theta is " + std::to_string(out.theta) +
                             ": yarn needs one above 1");
  }
}

}  // namespace

RopeConfig read_rope_config(const ConfigFields& config, std::int64_t max_positions) {
  RopeConfig out;
  out.theta = config.positive_number("rope_theta").value_or(kDefaultTheta);
  const auto rope = rope_fields(config);
  for (const ConfigFields* fields : {&config, rope ? &*rope : nullptr}) {
    if (fields == nullptr) continue;
    if (fields->number("partial_rotary_factor").value_or(1.0) != 1.0) {
      fields->fail("partial_rotary_factor",
                   "not supported: only 1, where all of a head is rotated");
    }
  }
  if (!rope) return out;
  for (const auto& [field, value] : rope->json().items()) {
    if (value.is_object())
      rope->fail(field, "parameters by the type of the layer are not supported");
  }
  out.theta = rope->positive_number("rope_theta").value_or(out.theta);
  out.kind = rope_kind(*rope);
  if (out.kind == RopeKind::kLinear) out.factor = required_positive(*rope, "factor");
  if (out.kind == RopeKind::kLlama3 || out.kind == RopeKind::kYarn) {
    out.original_max_positions = original_positions(config, *rope, max_positions);
  }
  if (out.kind == RopeKind::kLlama3) read_llama3(*rope, out);
  if (out.kind == RopeKind::kYarn) read_yarn(*rope, max_positions, out);
  return out;
}

}  // namespace seer
