// gate_config.json: what an adapter's gates are, for which model, and what is known about them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <variant>

#include "seer/calibration.h"
#include "seer/config.h"
#include "seer/gate_design.h"

namespace seer {

// kPrefill gates score pairs of blocks. kDecode gates (SeerAttention-R) score key blocks for one token; they are read,
// kept and exported, and cannot be run yet.
enum class GateKind { kPrefill, kDecode };

// The heads of the keys' linear map, and of the key representatives.
enum class KeyHeads { kQuery, kKv };

// Settings of a design of one's own.
using GateOption = std::variant<bool, double, std::string>;

struct GateConfig {
  GateKind kind = GateKind::kPrefill;
  // A GateDesign's text, or the name of a registered design (seer/gate.h). Of a decode gate: how the queries of a group
  // of heads become one and what the keys are pooled by, as in "Qproj_Kmaxminavg" (Qproj, Qavgproj or Qavg).
  std::string design = "Qavg_Kmaxminavg";
  std::int64_t block_size = 64;  // tokens: 16, 32, 64 or 128
  std::int64_t width = 128;      // of a representative ("gate_hidden_size"), even
  bool project_queries = false;  // a linear map per head on the pooled queries
  bool project_keys = true;
  KeyHeads key_heads = KeyHeads::kQuery;
  bool use_rope = true;  // turns representatives by the position of their first token
  bool qk_norm = false;  // RMSNorm (eps 1e-6, with weights) behind the maps and before RoPE
  std::map<std::string, GateOption> options;

  std::string base_model;   // a name, for people
  std::string base_config;  // canonical JSON text of the base model's fields that matter
  std::string fingerprint;  // lower-case hexadecimal SHA-256 of base_config
  std::string training;  // JSON text of an object: whatever the trainer wants to keep; may be empty
  std::string
      published;  // JSON text: config.json of the published adapter that this was imported from; may be empty
  CalibrationTable calibration;

  // The values of `options`, or the default where there is none. Throw std::invalid_argument where it is of another
  // type.
  double number_option(std::string_view name, double default_value) const;
  bool bool_option(std::string_view name, bool default_value) const;
  std::string text_option(std::string_view name, std::string_view default_value) const;
};

// A prefill gate of this design for a model, with the defaults of the published rule (specification of the published
// system: only keys are mapped, with one matrix per query head, unless queries are pooled in several ways, the width is
// not head_dim or `force_double`; with both maps, keys have one per key/value head). Designs with representatives finer
// than a block have both maps, the keys' with one matrix per query head. `width` 0: the model's head_dim. Fills
// base_model, base_config and fingerprint. Throws std::invalid_argument for what cannot be.
GateConfig default_gate_config(std::string_view design, const ModelConfig& model,
                               std::int64_t block_size = 64, std::int64_t width = 0,
                               bool force_double = false);

// Throws std::invalid_argument that names field, value and what is accepted: values out of range, a design that nobody
// knows, maps that are needed and absent.
void check_gate_config(const GateConfig& config, const ModelConfig& model);

// Sets base_model, base_config and fingerprint. What matters: model type, sizes, heads, RoPE, vocabulary, the norms and
// biases that queries and keys go through.
void set_base_model(const ModelConfig& model, GateConfig& config);
// Throws std::runtime_error "<source>: ..." that names each field in which `model` is another one than the gates were
// made for, with both values.
void check_base_model(const GateConfig& config, const ModelConfig& model,
                      const std::string& source);

// gate_config.json of an adapter's folder. Throws std::runtime_error that names file, field, value and what was
// expected.
GateConfig read_gate_config(const std::filesystem::path& folder);
GateConfig parse_gate_config(std::string_view json, const std::string& source);
// What parse_gate_config reads, with line breaks; equal configurations give equal text.
std::string gate_config_json(const GateConfig& config);

}  // namespace seer
