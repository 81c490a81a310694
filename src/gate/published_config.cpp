#include "gate/published_config.h"

#include <stdexcept>
#include <utility>

#include "base/config_fields.h"
#include "base/quote.h"
#include "gate/decode_design.h"
#include "gate/gate_registry.h"

namespace seer {
namespace {

constexpr const char* kDesign = "seerattn_gate_type";
constexpr const char* kBlockSize = "seerattn_gate_block_size";
constexpr const char* kWidth = "seerattn_gate_hidden_size";
constexpr const char* kForceDouble = "seerattn_gate_force_double";
constexpr const char* kDecodeKeys = "seerattn_k_seq_pooling_type";
constexpr const char* kDecodeQueries = "seerattn_q_head_pooling_type";
constexpr const char* kUseRope = "seerattn_use_rope";
constexpr const char* kUseNorm = "seerattn_use_qk_norm";

// The gates' own description of their base model, field by field where it is there.
void check_sizes(const ConfigFields& fields, const ModelConfig& model) {
  const std::pair<const char*, std::int64_t> sizes[] = {{"hidden_size", model.hidden_size},
                                                        {"num_hidden_layers", model.num_layers},
                                                        {"num_attention_heads", model.num_q_heads},
                                                        {"num_key_value_heads", model.num_kv_heads},
                                                        {"head_dim", model.head_dim},
                                                        {"vocab_size", model.vocab_size}};
  for (const auto& [field, expected] : sizes) {
    const auto value = fields.size(field);
    if (!value || *value == expected) continue;
    fields.fail(
        field,
        "the model " + quote(model.name) + " has " + std::to_string(expected) +
            "; expected the model that the gates were made for" +
            (fields.has("base_model") ? ", " + quote(fields.text("base_model").value_or("")) : ""));
  }
  const auto theta = fields.number("rope_theta");
  if (theta && *theta != model.rope.theta) {
    fields.fail("rope_theta", "the model " + quote(model.name) + " has " +
                                  std::to_string(model.rope.theta) +
                                  "; expected the model that the gates were made for");
  }
}

// Whether a published gate of this design and width maps its queries without being told to.
bool maps_queries(const GateDesign& design, std::int64_t width, std::int64_t head_dim) {
  return design.q.num_kinds() > 1 || width != head_dim;
}

void read_prefill(const ConfigFields& fields, const ModelConfig& model, GateConfig& config) {
  config.design = fields.text(kDesign).value_or("Qavg_Kmaxminavg");
  const GateDesign design = GateDesign::parse(config.design);
  if (!design.is_published()) fields.fail(kDesign, "expected one of the 49 published designs");
  config.project_queries = maps_queries(design, config.width, model.head_dim) ||
                           fields.boolean(kForceDouble).value_or(false);
  config.key_heads = config.project_queries ? KeyHeads::kKv : KeyHeads::kQuery;
}

void read_decode(const ConfigFields& fields, GateConfig& config) {
  config.design = fields.text(kDecodeQueries).value_or("Qproj") + "_" +
                  fields.text(kDecodeKeys).value_or("Kmaxminavg");
  config.project_queries = DecodeDesign::parse(config.design).query != "Qavg";
  config.key_heads = KeyHeads::kKv;
  config.use_rope = fields.boolean(kUseRope).value_or(true);
  config.qk_norm = fields.boolean(kUseNorm).value_or(false);
}

[[noreturn]] void no_word(const std::string& source, const std::string& setting) {
  throw std::runtime_error(source + ": " + setting +
                           ": the published format has no word for it, so that this adapter "
                           "cannot be exported");
}

// Settings that the published classes take from nowhere.
void check_prefill(const GateConfig& config, const GateDesign& design, std::int64_t head_dim,
                   const std::string& source) {
  const bool mapped = maps_queries(design, config.width, head_dim);
  if (!config.project_keys) no_word(source, "project_keys is false");
  if (!config.project_queries && mapped) no_word(source, "project_queries is false");
  if ((config.key_heads == KeyHeads::kKv) != config.project_queries)
    no_word(source, config.project_queries ? "key_heads is query, with a map of the queries"
                                           : "key_heads is kv, without a map of the queries");
  if (!config.use_rope) no_word(source, "use_rope is false");
  if (config.qk_norm) no_word(source, "qk_norm is true for a prefill gate");
}

std::int64_t base_head_dim(const GateConfig& config, const std::string& source) {
  const Json base = parse_json(config.base_config, source + ": base_model.config");
  return ConfigFields(base, source, "base_model.config.").required_size("head_dim");
}

}  // namespace

GateConfig read_published_config(const Json& json, GateKind kind, const ModelConfig& model,
                                 const std::string& source) {
  const ConfigFields fields(json, source);
  check_sizes(fields, model);
  GateConfig config;
  config.kind = kind;
  config.block_size = fields.size(kBlockSize).value_or(64);
  config.width = fields.size(kWidth).value_or(128);
  try {
    if (kind == GateKind::kPrefill) {
      read_prefill(fields, model, config);
    } else {
      read_decode(fields, config);
    }
    check_gate_config(config, model);
  } catch (const std::invalid_argument& error) {
    throw std::runtime_error(source + ": " + error.what());
  }
  set_base_model(model, config);
  config.base_model = fields.text("base_model").value_or(model.name);
  config.published = json.dump();
  return config;
}

nlohmann::ordered_json published_config_json(const GateConfig& config, const Json& base,
                                             const std::string& source) {
  nlohmann::ordered_json json(base);
  json["base_model"] = config.base_model;
  json[kBlockSize] = config.block_size;
  json[kWidth] = config.width;
  if (!config.options.empty()) no_word(source, "options");
  if (config.kind == GateKind::kDecode) {
    const std::size_t split = config.design.find("_K");
    json[kDecodeQueries] = config.design.substr(0, split);
    json[kDecodeKeys] = config.design.substr(split + 1);
    json[kUseRope] = config.use_rope;
    json[kUseNorm] = config.qk_norm;
    return json;
  }
  if (find_gate_factory(config.design)) no_word(source, "design " + quote(config.design));
  GateDesign design;
  try {
    design = GateDesign::parse(config.design);
  } catch (const std::invalid_argument& error) {
    throw std::runtime_error(source + ": " + error.what());
  }
  if (design.q.tokens_of(config.block_size) != config.block_size ||
      design.k.tokens_of(config.block_size) != config.block_size) {
    no_word(source, "design " + quote(config.design) + ", representatives finer than a block");
  }
  design.q.tokens = design.k.tokens = 0;
  const std::int64_t head_dim = base_head_dim(config, source);
  check_prefill(config, design, head_dim, source);
  json[kDesign] = design.to_string();
  json[kForceDouble] = config.project_queries && !maps_queries(design, config.width, head_dim);
  return json;
}

}  // namespace seer
