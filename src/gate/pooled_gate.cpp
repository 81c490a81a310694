#include "gate/pooled_gate.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/matmul.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <stdexcept>

#include "base/quote.h"
#include "gate/representative_angles.h"
#include "seer/ops.h"

namespace seer {
namespace {

constexpr double kNormEps = 1e-6;

// Of each row, then weighted.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight) {
  const at::Tensor variance = x.square().mean(-1, /*keepdim=*/true);
  return x * (variance + kNormEps).rsqrt() * weight.to(x.scalar_type());
}

// Without gradients and, where something may be saved for backward, no inference tensor.
at::Tensor pools_of(const at::Tensor& x, const GatePooling& pooling, std::int64_t tokens) {
  if (tokens > 1) return pool_blocks(x.detach(), tokens, pooling.kinds());
  if (x.is_inference() && !c10::InferenceMode::is_enabled()) return x.clone();
  return x.detach();
}

void check_input(const Gate& gate, const char* name, const at::Tensor& x, std::int64_t heads,
                 std::int64_t first_position) {
  TORCH_CHECK(x.dim() == 4 && x.size(1) == heads && x.size(3) == gate.head_dim(), "gate: ", name,
              ": expected [batch, ", heads, ", length, ", gate.head_dim(), "], got ", x.sizes());
  TORCH_CHECK(x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16 ||
                  x.scalar_type() == (x.is_cuda() ? at::kHalf : at::kDouble),
              "gate: ", name, ": expected float32, bfloat16 or ",
              x.is_cuda() ? "float16 (on CUDA)" : "float64", ", got ", x.scalar_type());
  TORCH_CHECK(first_position >= 0, "gate: first_position=", first_position,
              ": expected at least 0");
}

void fill_identity(const at::Tensor& map, const GatePooling& pooling, std::int64_t head_dim) {
  map.zero_();
  // The average is the last kind.
  map.narrow(1, (pooling.num_kinds() - 1) * head_dim, head_dim).diagonal(0, 1, 2).fill_(1);
}

}  // namespace

at::Tensor PreparedMap::of(const at::Tensor& map, at::ScalarType type) {
  const std::lock_guard lock(mutex_);
  // Tensors of inference mode count no changes: nothing is kept of them.
  const std::int64_t version = map.is_inference() ? -1 : static_cast<std::int64_t>(map._version());
  const bool is_current = version >= 0 && version == version_ && data_ == map.const_data_ptr() &&
                          prepared_.defined() && prepared_.scalar_type() == type;
  if (!is_current) {
    const at::NoGradGuard no_grad;
    prepared_ = map.detach().transpose(1, 2).to(type).contiguous();
    data_ = map.const_data_ptr();
    version_ = version;
  }
  return prepared_;
}

PooledGate::PooledGate(const GateDesign& design, const GateConfig& config, const ModelConfig& model)
    : Gate(config, model, design.q.tokens_of(config.block_size),
           design.k.tokens_of(config.block_size)),
      design_(design) {
  const std::int64_t width = config.width;
  if (config.project_queries) {
    q_map_ = add_parameter("mask_linear_q.weight",
                           {num_q_heads(), head_dim() * design.q.num_kinds(), width});
  }
  if (config.project_keys) {
    const std::int64_t heads =
        config.key_heads == KeyHeads::kQuery ? num_q_heads() : num_kv_heads();
    k_map_ =
        add_parameter("mask_linear_k.weight", {heads, head_dim() * design.k.num_kinds(), width});
  }
  if (config.qk_norm) {
    q_norm_ = add_parameter("attngate_qnorm.weight", {width});
    k_norm_ = add_parameter("attngate_knorm.weight", {width});
  }
}

at::Tensor PooledGate::query_features(const at::Tensor& q, std::int64_t first_position) const {
  check_input(*this, "q", q, num_q_heads(), first_position);
  return pools_of(q, design_.q, q_tokens());
}

at::Tensor PooledGate::key_features(const at::Tensor& k, std::int64_t first_position) const {
  check_input(*this, "k", k, num_kv_heads(), first_position);
  TORCH_CHECK(first_position % config().block_size == 0, "gate: first_position=", first_position,
              ": expected a multiple of the block size, ", config().block_size,
              ", for keys: a block's representatives need all of its tokens");
  return pools_of(k, design_.k, k_tokens());
}

AttentionPooling PooledGate::pooling() const {
  const auto of = [](const GatePooling& pooling, std::int64_t tokens) {
    return tokens > 1 ? BlockPooling{.tokens = tokens, .kinds = pooling.kinds()} : BlockPooling{};
  };
  return {.q = of(design_.q, q_tokens()), .k = of(design_.k, k_tokens())};
}

at::Tensor PooledGate::representatives_of_queries(const at::Tensor& features,
                                                  std::int64_t first_position) const {
  return representatives(features, q_tokens(), q_map_, prepared_q_map_, q_norm_, first_position);
}

at::Tensor PooledGate::representatives_of_keys(const at::Tensor& features,
                                               std::int64_t first_position) const {
  return representatives(features, k_tokens(), k_map_, prepared_k_map_, k_norm_, first_position);
}

at::Tensor PooledGate::query_representatives(const at::Tensor& q,
                                             std::int64_t first_position) const {
  return representatives_of_queries(query_features(q, first_position), first_position);
}

at::Tensor PooledGate::key_representatives(const at::Tensor& k, std::int64_t first_position) const {
  return representatives_of_keys(key_features(k, first_position), first_position);
}

at::Tensor PooledGate::representatives(const at::Tensor& pools, std::int64_t tokens,
                                       const at::Tensor& map, PreparedMap& prepared,
                                       const at::Tensor& norm, std::int64_t first_position) const {
  if (kernels_serve(pools))
    return representatives_by_kernel(pools, tokens, map, prepared, norm, first_position);
  const at::ScalarType type = pools.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  at::Tensor reps = pools.to(type);
  if (map.defined()) {
    const at::Tensor weight = map.to(type);
    const std::int64_t group = weight.size(0) / reps.size(1);
    if (group == 1) {
      reps = at::matmul(reps, weight);
    } else {
      // Each head's representatives meet the maps of its group: [b, kv heads, 1, n, in] x [kv heads, group, in, g].
      reps = at::matmul(reps.unsqueeze(2),
                        weight.view({reps.size(1), group, weight.size(1), weight.size(2)}))
                 .flatten(1, 2);
    }
  }
  if (norm.defined()) reps = rms_norm(reps, norm);
  return config().use_rope ? turn_representatives(reps, model().rope, first_position, tokens)
                           : reps;
}

// The same answer for both sides, whose representatives meet.
bool PooledGate::kernels_serve(const at::Tensor& x) const {
  if (!x.is_cuda() || (x.scalar_type() != at::kBFloat16 && x.scalar_type() != at::kHalf))
    return false;
  const bool learns =
      std::any_of(parameters().begin(), parameters().end(),
                  [](const GateParameter& parameter) { return parameter.value.requires_grad(); });
  if (learns && at::GradMode::is_enabled()) return false;
  constexpr std::int64_t kMostRepresentatives = 16, kMostInputs = 512, kInputs = 64;
  const auto fits = [this](const GatePooling& pooling) {
    const std::int64_t inputs = head_dim() * pooling.num_kinds();
    return inputs % kInputs == 0 && inputs <= kMostInputs;
  };
  return (config().width == 64 || config().width == 128) && fits(design_.q) && fits(design_.k) &&
         config().block_size <= kMostRepresentatives * q_tokens();
}

at::Tensor PooledGate::representatives_by_kernel(const at::Tensor& pooled, std::int64_t tokens,
                                                 const at::Tensor& map, PreparedMap& prepared,
                                                 const at::Tensor& norm,
                                                 std::int64_t first_position) const {
  std::optional<at::Tensor> kernel_map, kernel_norm, cos, sin;
  if (map.defined()) kernel_map = prepared.of(map, pooled.scalar_type());
  if (norm.defined()) kernel_norm = norm.detach();
  if (config().use_rope) {
    const RopeTable angles = representative_angles(model().rope, config().width, first_position,
                                                   pooled.size(2), tokens, pooled.device());
    cos = angles.cos;
    sin = angles.sin;
  }
  return gate_representatives(pooled, kernel_map, kernel_norm, cos, sin, kNormEps);
}

at::Tensor PooledGate::select(const at::Tensor& q_reps, const at::Tensor& k_reps,
                              std::string_view policy, const at::Tensor& thresholds,
                              std::int64_t q_len, std::int64_t kv_len) const {
  if (!q_reps.is_cuda() || q_reps.scalar_type() != at::kBFloat16)
    return Gate::select(q_reps, k_reps, policy, thresholds, q_len, kv_len);
  return select_gate_blocks(
      q_reps, k_reps, policy,
      thresholds.defined() ? std::optional<at::Tensor>(thresholds) : std::nullopt, q_len, kv_len,
      config().block_size, q_tokens(), k_tokens(),
      1.0 / std::sqrt(static_cast<double>(q_reps.size(-1))));
}

void PooledGate::initialise(GateInit init, at::Generator& generator) {
  if (init != GateInit::kIdentity) return Gate::initialise(init, generator);
  const auto check_side = [&](const char* side, const at::Tensor& map, const GatePooling& pooling) {
    if (!map.defined()) return;
    if (!pooling.avg || config().width != head_dim()) {
      throw std::invalid_argument("gate initialisation identity: design " + quote(config().design) +
                                  ", width " + std::to_string(config().width) + ": the map of '" +
                                  side + "' needs avg among its kinds and a width of head_dim, " +
                                  std::to_string(head_dim()));
    }
  };
  check_side("Q", q_map_, design_.q);
  check_side("K", k_map_, design_.k);
  const at::NoGradGuard no_grad;
  if (q_map_.defined()) fill_identity(q_map_, design_.q, head_dim());
  if (k_map_.defined()) fill_identity(k_map_, design_.k, head_dim());
  if (q_norm_.defined()) q_norm_.fill_(1);
  if (k_norm_.defined()) k_norm_.fill_(1);
}

}  // namespace seer
