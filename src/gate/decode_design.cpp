#include "gate/decode_design.h"

#include <stdexcept>

#include "base/quote.h"

namespace seer {

DecodeDesign DecodeDesign::parse(std::string_view text) {
  const std::size_t split = text.find("_K");
  DecodeDesign design;
  design.query = text.substr(0, split);
  const bool known =
      design.query == "Qproj" || design.query == "Qavgproj" || design.query == "Qavg";
  if (split == text.npos || !known) {
    throw std::invalid_argument("gate design " + quote(text) +
                                " of kind decode: expected Qproj, Qavgproj or Qavg and the keys' "
                                "kinds, as in Qproj_Kmaxminavg");
  }
  design.k = GateDesign::parse("Qavg" + std::string(text.substr(split))).k;
  if (design.k.tokens != 0) {
    throw std::invalid_argument("gate design " + quote(text) +
                                " of kind decode: keys are pooled over the block alone");
  }
  return design;
}

std::vector<std::pair<std::string, std::vector<std::int64_t>>> decode_gate_tensors(
    const GateConfig& config, const ModelConfig& model) {
  const DecodeDesign design = DecodeDesign::parse(config.design);
  const std::int64_t group = model.num_q_heads / model.num_kv_heads;
  std::vector<std::pair<std::string, std::vector<std::int64_t>>> tensors;
  if (design.query == "Qproj") {
    tensors.emplace_back(
        "attngate_linear_q.weight",
        std::vector<std::int64_t>{model.num_kv_heads, group, model.head_dim, config.width});
  } else if (design.query == "Qavgproj") {
    tensors.emplace_back(
        "attngate_linear_q.weight",
        std::vector<std::int64_t>{model.num_kv_heads, model.head_dim, config.width});
  }
  tensors.emplace_back(
      "attngate_linear_k.weight",
      std::vector<std::int64_t>{model.num_kv_heads, model.head_dim * design.k.num_kinds(),
                                config.width});
  if (config.qk_norm) {
    tensors.emplace_back("attngate_qnorm.weight", std::vector<std::int64_t>{config.width});
    tensors.emplace_back("attngate_knorm.weight", std::vector<std::int64_t>{config.width});
  }
  return tensors;
}

}  // namespace seer
