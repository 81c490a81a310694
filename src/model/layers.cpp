#include "model/layers.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/silu.h>

#include <optional>

namespace seer {

at::Tensor RmsNorm::operator()(const at::Tensor& x) const {
  const at::Tensor wide = x.to(at::kFloat);
  const at::Tensor mean_square = wide.square().mean(-1, /*keepdim=*/true);
  return (wide * at::rsqrt(mean_square + eps)).to(x.scalar_type()) * weight;
}

at::Tensor Linear::operator()(const at::Tensor& x) const {
  return at::linear(x, weight, bias.defined() ? std::optional<at::Tensor>(bias) : std::nullopt);
}

at::Tensor Mlp::operator()(const at::Tensor& x) const {
  const at::Tensor both = gate_up(x);
  const std::int64_t width = both.size(-1) / 2;
  at::Tensor gate = at::silu(both.narrow(-1, 0, width));
  return down(gate.mul_(both.narrow(-1, width, width)));
}

}  // namespace seer
