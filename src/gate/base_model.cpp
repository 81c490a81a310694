// Which model gates were made for: the fields of its configuration that a gate depends on, and their digest.
#include <set>
#include <stdexcept>
#include <string>

#include "base/json.h"
#include "base/quote.h"
#include "io/digest.h"
#include "seer/gate_config.h"

namespace seer {
namespace {

std::string family_name(ModelFamily family) {
  switch (family) {
    case ModelFamily::kLlama: return "llama";
    case ModelFamily::kMistral: return "mistral";
    case ModelFamily::kQwen2: return "qwen2";
    case ModelFamily::kQwen3: return "qwen3";
  }
  return "";
}

// The parameters that this kind of RoPE uses, flat: "rope.theta".
void add_rope(const RopeConfig& rope, Json& fields) {
  fields["rope.theta"] = rope.theta;
  switch (rope.kind) {
    case RopeKind::kDefault: fields["rope.kind"] = "default"; return;
    case RopeKind::kLinear:
      fields["rope.kind"] = "linear";
      fields["rope.factor"] = rope.factor;
      return;
    case RopeKind::kLlama3:
      fields["rope.kind"] = "llama3";
      fields["rope.factor"] = rope.factor;
      fields["rope.low_freq_factor"] = rope.low_freq_factor;
      fields["rope.high_freq_factor"] = rope.high_freq_factor;
      fields["rope.original_max_positions"] = rope.original_max_positions;
      return;
    case RopeKind::kYarn:
      fields["rope.kind"] = "yarn";
      fields["rope.factor"] = rope.factor;
      fields["rope.original_max_positions"] = rope.original_max_positions;
      fields["rope.beta_fast"] = rope.beta_fast;
      fields["rope.beta_slow"] = rope.beta_slow;
      fields["rope.truncate"] = rope.truncate;
      if (rope.attention_factor) fields["rope.attention_factor"] = *rope.attention_factor;
      if (rope.mscale) fields["rope.mscale"] = *rope.mscale;
      if (rope.mscale_all_dim) fields["rope.mscale_all_dim"] = *rope.mscale_all_dim;
      return;
  }
}

// Keys are sorted and numbers printed the shortest way that reads back the same: equal models give equal text.
Json fields_of(const ModelConfig& model) {
  Json fields = {{"model_type", family_name(model.family)},
                 {"vocab_size", model.vocab_size},
                 {"hidden_size", model.hidden_size},
                 {"intermediate_size", model.intermediate_size},
                 {"num_layers", model.num_layers},
                 {"num_q_heads", model.num_q_heads},
                 {"num_kv_heads", model.num_kv_heads},
                 {"head_dim", model.head_dim},
                 {"qkv_bias", model.qkv_bias},
                 {"qk_norm", model.qk_norm}};
  add_rope(model.rope, fields);
  return fields;
}

std::string digest_of(const std::string& text) {
  Digest digest = Digest::sha256();
  digest.update(text);
  return digest.finish();
}

std::string value_text(const Json& fields, const std::string& name) {
  const auto found = fields.find(name);
  return found == fields.end() ? "absent" : printable(found->dump(), 60);
}

}  // namespace

void set_base_model(const ModelConfig& model, GateConfig& config) {
  config.base_model = model.name;
  config.base_config = fields_of(model).dump();
  config.fingerprint = digest_of(config.base_config);
}

void check_base_model(const GateConfig& config, const ModelConfig& model,
                      const std::string& source) {
  const Json wanted = parse_json(config.base_config, source + ": base_model.config");
  if (!wanted.is_object()) {
    throw std::runtime_error(source + ": base_model.config: expected an object");
  }
  if (digest_of(wanted.dump()) != config.fingerprint) {
    throw std::runtime_error(source + ": base_model.fingerprint is " + quote(config.fingerprint) +
                             ": it is not that of base_model.config (was the file edited? Use the "
                             "adapter as it was written)");
  }
  const Json given = fields_of(model);
  std::set<std::string> names;
  for (const Json* fields : {&wanted, &given})
    for (const auto& [name, value] : fields->items()) names.insert(name);
  std::string differences;
  for (const std::string& name : names) {
    const std::string before = value_text(wanted, name);
    const std::string now = value_text(given, name);
    if (before == now) continue;
    differences += (differences.empty() ? "" : "; ") + printable(name, 60) + ": the gates need " +
                   before + ", the model has " + now;
  }
  if (differences.empty()) return;
  throw std::runtime_error(source + ": these gates were made for another model, " +
                           quote(config.base_model) + ", not for " + quote(model.name) + ": " +
                           differences +
                           ". Use the model that they were made for, or distil gates "
                           "for this one");
}

}  // namespace seer
