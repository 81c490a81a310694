#include "seer/gate.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <stdexcept>

#include "base/quote.h"
#include "base/selection_policy.h"
#include "gate/representative_angles.h"
#include "seer/ops.h"

namespace seer {
namespace {

constexpr double kNormalDeviation = 0.02;

// Xavier's bound as torch.nn.init takes it: of [heads, in, out], `in` counts as the inputs and `heads` as the outputs
// of a convolution with `out` taps.
double xavier_bound(const at::Tensor& weight) {
  double taps = 1;
  for (std::int64_t i = 2; i < weight.dim(); ++i) taps *= static_cast<double>(weight.size(i));
  const double fan_in = static_cast<double>(weight.size(1)) * taps;
  const double fan_out = static_cast<double>(weight.size(0)) * taps;
  return std::sqrt(6.0 / (fan_in + fan_out));
}

// By the operator, one launch each way: backward turns by the opposite angles.
class TurnOnDevice : public torch::autograd::Function<TurnOnDevice> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x,
                            const at::Tensor& cos, const at::Tensor& sin) {
    context->save_for_backward({cos, sin});
    return turned(x, cos, sin);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list grads) {
    const auto saved = context->get_saved_variables();
    return {turned(grads[0], saved[0], saved[1].neg()), at::Tensor(), at::Tensor()};
  }

 private:
  // [batch, heads, n, width] is to the operator [n, batch * heads, width].
  static at::Tensor turned(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
    const at::NoGradGuard no_grad;
    at::Tensor out = at::empty(x.sizes(), x.options());
    const auto by_position = [](const at::Tensor& all) {
      return all.flatten(0, 1).transpose(0, 1);
    };
    rope(by_position(x.detach().contiguous()), cos, sin, by_position(out));
    return out;
  }
};

}  // namespace

GateInit parse_gate_init(std::string_view name) {
  if (name == "normal") return GateInit::kNormal;
  if (name == "xavier") return GateInit::kXavier;
  if (name == "identity") return GateInit::kIdentity;
  throw std::invalid_argument("gate initialisation " + quote(name) +
                              ": expected normal, xavier or identity");
}

Gate::Gate(const GateConfig& config, const ModelConfig& model, std::int64_t q_tokens,
           std::int64_t k_tokens)
    : config_(config), model_(model), q_tokens_(q_tokens), k_tokens_(k_tokens) {
  for (const std::int64_t tokens : {q_tokens, k_tokens}) {
    if (tokens < 1 || config.block_size % tokens != 0) {
      throw std::invalid_argument("gate design " + quote(config.design) + ": representatives of " +
                                  std::to_string(tokens) + " tokens do not divide block_size " +
                                  std::to_string(config.block_size));
    }
  }
}

Gate::~Gate() = default;

at::Tensor Gate::query_features(const at::Tensor& q, std::int64_t /*first_position*/) const {
  return q.detach();
}

at::Tensor Gate::key_features(const at::Tensor& k, std::int64_t /*first_position*/) const {
  return k.detach();
}

at::Tensor Gate::representatives_of_queries(const at::Tensor& features,
                                            std::int64_t first_position) const {
  return query_representatives(features, first_position);
}

at::Tensor Gate::representatives_of_keys(const at::Tensor& features,
                                         std::int64_t first_position) const {
  return key_representatives(features, first_position);
}

at::Tensor Gate::block_logits(const at::Tensor& q_reps, const at::Tensor& k_reps,
                              std::int64_t q_len, std::int64_t kv_len) const {
  return max_block_logits(q_reps, k_reps, q_len, kv_len, config_.block_size, q_tokens_, k_tokens_,
                          1.0 / std::sqrt(static_cast<double>(q_reps.size(-1))));
}

at::Tensor Gate::select(const at::Tensor& q_reps, const at::Tensor& k_reps, std::string_view policy,
                        const at::Tensor& thresholds, std::int64_t q_len,
                        std::int64_t kv_len) const {
  SelectionPolicy rule = SelectionPolicy::parse(policy);
  at::Tensor scores = block_logits(q_reps, k_reps, q_len, kv_len);
  if (rule.rule == PolicyRule::kThreshold || rule.rule == PolicyRule::kMass)
    scores = at::softmax(scores, -1);
  if (thresholds.defined()) {
    // Thresholds differ between heads and select_blocks() takes one: it gets 1 for a chosen block, 0 for another, and
    // what lies between.
    scores = (scores > thresholds.view({1, -1, 1, 1})).to(at::kFloat);
    rule.value = 0.5;
  }
  return select_blocks(scores, rule.to_string(), q_len, kv_len, config_.block_size);
}

at::Tensor Gate::add_parameter(std::string name, at::IntArrayRef shape) {
  for (const GateParameter& parameter : parameters_) {
    if (parameter.name == name)
      throw std::invalid_argument("gate parameter " + quote(name) + ": added twice");
  }
  parameters_.push_back({std::move(name), at::zeros(shape, at::kFloat)});
  return parameters_.back().value;
}

void Gate::initialise(GateInit init, at::Generator& generator) {
  if (init == GateInit::kIdentity) {
    throw std::invalid_argument("gate initialisation identity: design " + quote(config_.design) +
                                " does not define it; expected normal or xavier");
  }
  const at::NoGradGuard no_grad;
  for (const GateParameter& parameter : parameters_) {
    const at::Tensor value = parameter.value;
    if (value.dim() < 2) {
      value.fill_(1);
    } else if (init == GateInit::kNormal) {
      value.normal_(0.0, kNormalDeviation, generator);
    } else {
      const double bound = xavier_bound(value);
      value.uniform_(-bound, bound, generator);
    }
  }
}

at::Tensor turn_representatives(const at::Tensor& x, const RopeConfig& rope,
                                std::int64_t first_position, std::int64_t step) {
  TORCH_CHECK(x.dim() == 4 && x.size(3) % 2 == 0,
              "turn_representatives: x: expected [batch, heads, representatives, even width], got ",
              x.sizes());
  // Not narrower and not wider than the representatives: the published code builds the table for head_dim.
  const RopeTable table =
      representative_angles(rope, x.size(3), first_position, x.size(2), step, x.device());
  if (x.is_cuda() && x.scalar_type() == at::kFloat)
    return TurnOnDevice::apply(x, table.cos, table.sin);
  const std::int64_t half = x.size(3) / 2;
  const at::Tensor cos = table.cos.to(x.scalar_type());
  const at::Tensor sin = table.sin.to(x.scalar_type());
  const at::Tensor first = x.narrow(3, 0, half);
  const at::Tensor second = x.narrow(3, half, half);
  return at::cat({first * cos - second * sin, second * cos + first * sin}, 3);
}

}  // namespace seer
