#include "model/layers.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "seer/ops.h"

namespace seer {
namespace {

// Up to here reading the matrix is what takes time; MKL runs such products on one thread.
constexpr std::int64_t kMostGemvRows = 4;

}  // namespace

at::Tensor RmsNorm::operator()(const at::Tensor& x) const {
  return rms_norm(x, weight, eps);
}

at::Tensor Linear::operator()(const at::Tensor& x) const {
  const std::optional<at::Tensor> some_bias =
      bias.defined() ? std::optional<at::Tensor>(bias) : std::nullopt;
  const std::int64_t in_features = weight.size(1);
  if (x.numel() > kMostGemvRows * in_features) return at::linear(x, weight, some_bias);
  std::vector<std::int64_t> sizes = x.sizes().vec();
  sizes.back() = weight.size(0);
  return gemv(x.reshape({-1, in_features}), weight, some_bias).view(sizes);
}

void Linear::add_to(const at::Tensor& sum, const at::Tensor& x) const {
  if (!x.is_cuda()) {
    sum.add_((*this)(x));
    return;
  }
  sum.addmm_(x, weight.t());
  if (bias.defined()) sum.add_(bias);
}

void Mlp::add_to(const at::Tensor& sum, const at::Tensor& x) const {
  down.add_to(sum, swiglu(gate_up(x)));
}

}  // namespace seer
