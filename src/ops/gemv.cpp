#include "ops/gemv.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/autograd_not_implemented_fallback.h>
#include <torch/library.h>

#include "ops/element.h"
#include "ops/same_device.h"
#include "seer/ops.h"

namespace seer {

TORCH_LIBRARY_FRAGMENT(seer, m) {
  m.def("gemv(Tensor x, Tensor weight, Tensor? bias=None) -> Tensor");
}

at::Tensor gemv(const at::Tensor& x, const at::Tensor& weight,
                const std::optional<at::Tensor>& bias) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("seer::gemv", "")
                             .typed<at::Tensor(const at::Tensor&, const at::Tensor&,
                                               const std::optional<at::Tensor>&)>();
  return op.call(x, weight, bias);
}

void check_gemv(const at::Tensor& x, const at::Tensor& weight,
                const std::optional<at::Tensor>& bias) {
  TORCH_CHECK(x.dim() == 2, "gemv: x: expected 2 dimensions [batch, in_features], got ", x.dim());
  TORCH_CHECK(weight.dim() == 2,
              "gemv: weight: expected 2 dimensions [out_features, in_features], got ",
              weight.dim());
  TORCH_CHECK(weight.sym_size(1) == x.sym_size(1), "gemv: weight: expected ", x.sym_size(1),
              " in_features (as x), got ", weight.sym_size(1));
  TORCH_CHECK(weight.scalar_type() == x.scalar_type(), "gemv: weight: expected ", x.scalar_type(),
              " (as x), got ", weight.scalar_type());
  check_same_device(weight, "gemv: weight", x, "x");
  TORCH_CHECK(weight.sym_size(1) <= 1 || weight.sym_stride(1) == 1,
              "gemv: weight: expected a contiguous last dimension, got strides ",
              weight.sym_strides());
  if (!bias) return;
  TORCH_CHECK(bias->dim() == 1 && bias->sym_size(0) == weight.sym_size(0), "gemv: bias: expected [",
              weight.sym_size(0), "] (the out_features of weight), got ", bias->sym_sizes());
  check_same_device(*bias, "gemv: bias", x, "x");
  TORCH_CHECK(bias->scalar_type() == x.scalar_type(), "gemv: bias: expected ", x.scalar_type(),
              " (as x), got ", bias->scalar_type());
}

namespace {

at::Tensor gemv_meta(const at::Tensor& x, const at::Tensor& weight,
                     const std::optional<at::Tensor>& bias) {
  check_gemv(x, weight, bias);
  return at::empty_symint({x.sym_size(0), weight.sym_size(0)}, x.options());
}

}  // namespace

PreparedGemv prepare_gemv(const at::Tensor& x, const at::Tensor& weight,
                          const std::optional<at::Tensor>& bias) {
  check_gemv(x, weight, bias);
  PreparedGemv prepared;
  // x is small: a copy costs nothing against the matrix.
  prepared.x = x.size(1) <= 1 || x.stride(1) == 1 ? x : x.contiguous();
  if (bias) prepared.bias = bias->contiguous();
  GemvParams& params = prepared.params;
  params.element = element_of(x, "gemv: x");
  params.batch = x.size(0);
  params.in_features = x.size(1);
  params.out_features = weight.size(0);
  params.x_stride = prepared.x.stride(0);
  params.weight_stride = weight.stride(0);
  prepared.out = at::empty({params.batch, params.out_features}, x.options());
  params.x = prepared.x.const_data_ptr();
  params.weight = weight.const_data_ptr();
  params.bias = bias ? prepared.bias.const_data_ptr() : nullptr;
  params.out = prepared.out.mutable_data_ptr();
  return prepared;
}

TORCH_LIBRARY_IMPL(seer, Meta, m) {
  m.impl("gemv", &gemv_meta);
}

TORCH_LIBRARY_IMPL(seer, Autograd, m) {
  m.impl("gemv", torch::autograd::autogradNotImplementedFallback());
}

}  // namespace seer
