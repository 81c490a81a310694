#include "bench/model/gate_masks.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>

#include <optional>
#include <stdexcept>

#include "seer/sparse_attention.h"

namespace seer::bench {

at::Tensor gate_masks(const ModelSource& source, const std::string& policy,
                      const std::vector<TokenId>& tokens, std::int64_t heads) {
  const ModelConfig config = config_of(source);
  const Model model = make_model(source, config);
  const GateSet gates = make_gates(source, config);
  std::vector<at::Tensor> masks;
  SparseAttentionOptions options;
  options.block_size = source.block_size;
  options.min_context = 0;
  options.seed = source.seed;
  options.on_mask = [&](const AttentionCall& call, const at::Tensor& mask) {
    if (!mask.defined()) return;  // a dense layer
    masks.push_back(mask.expand({-1, call.q.size(1), -1, -1}).clone());
  };
  SparseAttention attention(config, policy, &gates, options);
  const auto length = static_cast<std::int64_t>(tokens.size());
  KvCache cache(config, 1, length, model.options().tensors());
  attention.begin(0, length);
  // At once, so that each mask is whole.
  model.forward(at::tensor(tokens, at::kLong).unsqueeze(0), cache, &attention);
  if (masks.empty()) {
    throw std::invalid_argument("--policy '" + policy + "': chooses no masks");
  }
  const at::Tensor all = at::cat(masks, 1);
  const at::Tensor order =
      at::arange(heads, at::TensorOptions(at::kLong).device(all.device())).remainder(all.size(1));
  return all.index_select(1, order);
}

}  // namespace seer::bench
