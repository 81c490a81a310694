#include "ops/row_layers.h"

#include <ATen/MemoryOverlap.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/autograd_not_implemented_fallback.h>
#include <torch/library.h>

#include "ops/element.h"
#include "ops/same_device.h"
#include "seer/ops.h"

namespace seer {

TORCH_LIBRARY_FRAGMENT(seer, m) {
  m.def("rms_norm(Tensor x, Tensor weight, float eps) -> Tensor");
  m.def("rope(Tensor x, Tensor cos, Tensor sin, Tensor(a!) out) -> ()");
  m.def("swiglu(Tensor gate_up) -> Tensor");
}

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("seer::rms_norm", "")
                             .typed<at::Tensor(const at::Tensor&, const at::Tensor&, double)>();
  return op.call(x, weight, eps);
}

void rope(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
          const at::Tensor& out) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("seer::rope", "")
                             .typed<void(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                         const at::Tensor&)>();
  op.call(x, cos, sin, out);
}

at::Tensor swiglu(const at::Tensor& gate_up) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("seer::swiglu", "")
                             .typed<at::Tensor(const at::Tensor&)>();
  return op.call(gate_up);
}

namespace {

void check_contiguous_last(const at::Tensor& x, const char* name) {
  TORCH_CHECK(x.sym_size(-1) <= 1 || x.sym_stride(-1) == 1, name,
              ": expected a contiguous last dimension, got strides ", x.sym_strides());
}

}  // namespace

void check_rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  TORCH_CHECK(x.dim() == 2 || x.dim() == 3,
              "rms_norm: x: expected [rows, width] or [rows, groups, width], got ", x.sym_sizes());
  TORCH_CHECK(weight.dim() == 1 && weight.sym_size(0) == x.sym_size(-1),
              "rms_norm: weight: expected [", x.sym_size(-1), "] (the width of x), got ",
              weight.sym_sizes());
  TORCH_CHECK(weight.scalar_type() == x.scalar_type(), "rms_norm: weight: expected ",
              x.scalar_type(), " (as x), got ", weight.scalar_type());
  check_same_device(weight, "rms_norm: weight", x, "x");
  TORCH_CHECK(eps >= 0, "rms_norm: eps: expected 0 or more, got ", eps);
  check_contiguous_last(x, "rms_norm: x");
}

void check_swiglu(const at::Tensor& gate_up) {
  TORCH_CHECK(gate_up.dim() == 2 && gate_up.sym_size(1) % 2 == 0,
              "swiglu: gate_up: expected [rows, 2 * width], got ", gate_up.sym_sizes());
  check_contiguous_last(gate_up, "swiglu: gate_up");
}

namespace {

void check_table(const at::Tensor& table, const at::Tensor& x, const char* name) {
  TORCH_CHECK(table.dim() == 2 && table.sym_size(0) == x.sym_size(0) &&
                  table.sym_size(1) * 2 == x.sym_size(2),
              "rope: ", name, ": expected [", x.sym_size(0), ", ", x.sym_size(2),
              " / 2] (rows and head_dim of x), got ", table.sym_sizes());
  TORCH_CHECK(table.scalar_type() == at::kFloat, "rope: ", name, ": expected float32, got ",
              table.scalar_type());
  TORCH_CHECK(table.is_contiguous(), "rope: ", name, ": expected a contiguous tensor");
}

void check_rope(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                const at::Tensor& out) {
  TORCH_CHECK(x.dim() == 3 && x.sym_size(2) % 2 == 0,
              "rope: x: expected [rows, heads, head_dim] with an even head_dim, got ",
              x.sym_sizes());
  check_table(cos, x, "cos");
  check_table(sin, x, "sin");
  TORCH_CHECK(out.sym_sizes() == x.sym_sizes(), "rope: out: expected ", x.sym_sizes(),
              " (as x), got ", out.sym_sizes());
  TORCH_CHECK(out.scalar_type() == x.scalar_type(), "rope: out: expected ", x.scalar_type(),
              " (as x), got ", out.scalar_type());
  check_same_device(cos, "rope: cos", x, "x");
  check_same_device(sin, "rope: sin", x, "x");
  check_same_device(out, "rope: out", x, "x");
  check_contiguous_last(x, "rope: x");
  check_contiguous_last(out, "rope: out");
}

at::Tensor rms_norm_meta(const at::Tensor& x, const at::Tensor& weight, double eps) {
  check_rms_norm(x, weight, eps);
  return at::empty_symint(x.sym_sizes(), x.options());
}

void rope_meta(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
               const at::Tensor& out) {
  check_rope(x, cos, sin, out);
}

at::Tensor swiglu_meta(const at::Tensor& gate_up) {
  check_swiglu(gate_up);
  return at::empty_symint({gate_up.sym_size(0), gate_up.sym_size(1) / 2}, gate_up.options());
}

}  // namespace

PreparedRmsNorm prepare_rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  check_rms_norm(x, weight, eps);
  PreparedRmsNorm prepared;
  prepared.weight = weight.contiguous();
  prepared.out = at::empty(x.sizes(), x.options());
  RmsNormParams& params = prepared.params;
  params.element = element_of(x, "rms_norm: x");
  params.rows = x.size(0);
  params.groups = x.dim() == 3 ? x.size(1) : 1;
  params.width = x.size(-1);
  params.row_stride = x.stride(0);
  params.group_stride = x.dim() == 3 ? x.stride(1) : 0;
  params.eps = eps;
  params.x = x.const_data_ptr();
  params.weight = prepared.weight.const_data_ptr();
  params.out = prepared.out.mutable_data_ptr();
  return prepared;
}

RopeParams prepare_rope(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                        const at::Tensor& out) {
  check_rope(x, cos, sin, out);
  TORCH_CHECK(at::get_overlap_status(x, out) != at::MemOverlapStatus::Partial,
              "rope: out: expected no overlap with x, or x itself");
  RopeParams params;
  params.element = element_of(x, "rope: x");
  params.rows = x.size(0);
  params.heads = x.size(1);
  params.head_dim = x.size(2);
  params.x_row_stride = x.stride(0);
  params.x_head_stride = x.stride(1);
  params.out_row_stride = out.stride(0);
  params.out_head_stride = out.stride(1);
  params.x = x.const_data_ptr();
  params.cos = cos.const_data_ptr<float>();
  params.sin = sin.const_data_ptr<float>();
  params.out = out.mutable_data_ptr();
  return params;
}

PreparedSwiglu prepare_swiglu(const at::Tensor& gate_up) {
  check_swiglu(gate_up);
  PreparedSwiglu prepared;
  SwigluParams& params = prepared.params;
  params.element = element_of(gate_up, "swiglu: gate_up");
  params.rows = gate_up.size(0);
  params.width = gate_up.size(1) / 2;
  params.row_stride = gate_up.stride(0);
  prepared.out = at::empty({params.rows, params.width}, gate_up.options());
  params.gate_up = gate_up.const_data_ptr();
  params.out = prepared.out.mutable_data_ptr();
  return prepared;
}

TORCH_LIBRARY_IMPL(seer, Meta, m) {
  m.impl("rms_norm", &rms_norm_meta);
  m.impl("rope", &rope_meta);
  m.impl("swiglu", &swiglu_meta);
}

TORCH_LIBRARY_IMPL(seer, Autograd, m) {
  m.impl("rope", torch::autograd::autogradNotImplementedFallback());
}

}  // namespace seer
