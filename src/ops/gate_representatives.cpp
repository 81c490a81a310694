#include "ops/gate_representatives.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/autograd_not_implemented_fallback.h>
#include <torch/library.h>

#include "ops/element.h"
#include "ops/same_device.h"
#include "seer/ops.h"

namespace seer {

TORCH_LIBRARY_FRAGMENT(seer, m) {
  m.def(
      "gate_representatives(Tensor pooled, Tensor? map, Tensor? norm, Tensor? cos, Tensor? sin, "
      "float eps) -> Tensor");
}

at::Tensor gate_representatives(const at::Tensor& pooled, const std::optional<at::Tensor>& map,
                                const std::optional<at::Tensor>& norm,
                                const std::optional<at::Tensor>& cos,
                                const std::optional<at::Tensor>& sin, double eps) {
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("seer::gate_representatives", "")
          .typed<at::Tensor(const at::Tensor&, const std::optional<at::Tensor>&,
                            const std::optional<at::Tensor>&, const std::optional<at::Tensor>&,
                            const std::optional<at::Tensor>&, double)>();
  return op.call(pooled, map, norm, cos, sin, eps);
}

namespace {

void check_angles(const at::Tensor& angles, const char* name, const at::Tensor& pooled,
                  const c10::SymInt& width) {
  TORCH_CHECK(angles.dim() == 2 && angles.sym_size(0) == pooled.sym_size(2) &&
                  angles.sym_size(1) * 2 == width,
              name, ": expected [", pooled.sym_size(2), ", ", width,
              " / 2] (representatives and width), got ", angles.sym_sizes());
  TORCH_CHECK(angles.scalar_type() == at::kFloat, name, ": expected float32, got ",
              angles.scalar_type());
  TORCH_CHECK(angles.sym_size(1) <= 1 || angles.sym_stride(1) == 1, name,
              ": expected a contiguous last dimension, got strides ", angles.sym_strides());
  check_same_device(angles, name, pooled, "pooled");
}

struct Widths {
  c10::SymInt out_heads, width;
};

Widths check_arguments(const at::Tensor& pooled, const std::optional<at::Tensor>& map,
                       const std::optional<at::Tensor>& norm, const std::optional<at::Tensor>& cos,
                       const std::optional<at::Tensor>& sin, double eps) {
  TORCH_CHECK(pooled.dim() == 4,
              "gate_representatives: pooled: expected 4 dimensions [batch, heads, representatives, "
              "width of the pools], got ",
              pooled.dim());
  TORCH_CHECK(pooled.sym_size(3) <= 1 || pooled.sym_stride(3) == 1,
              "gate_representatives: pooled: expected a contiguous last dimension, got strides ",
              pooled.sym_strides());
  TORCH_CHECK(pooled.sym_size(1) >= 1, "gate_representatives: pooled: expected a head or more");
  Widths widths{pooled.sym_size(1), pooled.sym_size(3)};
  if (map) {
    TORCH_CHECK(map->dim() == 3 && map->sym_size(2) == pooled.sym_size(3) &&
                    map->sym_size(0) % pooled.sym_size(1) == 0,
                "gate_representatives: map: expected [a multiple of ", pooled.sym_size(1),
                " heads, width, ", pooled.sym_size(3), "] (heads and width of pooled), got ",
                map->sym_sizes());
    TORCH_CHECK(map->scalar_type() == pooled.scalar_type(), "gate_representatives: map: expected ",
                pooled.scalar_type(), " (as pooled), got ", map->scalar_type());
    check_same_device(*map, "gate_representatives: map", pooled, "pooled");
    widths = {map->sym_size(0), map->sym_size(1)};
  }
  if (norm) {
    TORCH_CHECK(
        norm->dim() == 1 && norm->sym_size(0) == widths.width && norm->scalar_type() == at::kFloat,
        "gate_representatives: norm: expected float32 [", widths.width, "], got ",
        norm->scalar_type(), " ", norm->sym_sizes());
    check_same_device(*norm, "gate_representatives: norm", pooled, "pooled");
    TORCH_CHECK(eps >= 0, "gate_representatives: eps: expected 0 or more, got ", eps);
  }
  TORCH_CHECK(cos.has_value() == sin.has_value(),
              "gate_representatives: cos and sin: expected both or neither");
  if (cos) {
    TORCH_CHECK(widths.width % 2 == 0, "gate_representatives: width ", widths.width,
                ": expected an even one, to turn pairs");
    check_angles(*cos, "gate_representatives: cos", pooled, widths.width);
    check_angles(*sin, "gate_representatives: sin", pooled, widths.width);
    TORCH_CHECK(cos->sym_stride(0) == sin->sym_stride(0),
                "gate_representatives: sin: expected the strides of cos, ", cos->sym_strides(),
                ", got ", sin->sym_strides());
  }
  return widths;
}

at::Tensor gate_representatives_meta(const at::Tensor& pooled, const std::optional<at::Tensor>& map,
                                     const std::optional<at::Tensor>& norm,
                                     const std::optional<at::Tensor>& cos,
                                     const std::optional<at::Tensor>& sin, double eps) {
  const Widths widths = check_arguments(pooled, map, norm, cos, sin, eps);
  return at::empty_symint({pooled.sym_size(0), widths.out_heads, pooled.sym_size(2), widths.width},
                          pooled.options().dtype(at::kBFloat16));
}

}  // namespace

PreparedGateRepresentatives prepare_gate_representatives(const at::Tensor& pooled,
                                                         const std::optional<at::Tensor>& map,
                                                         const std::optional<at::Tensor>& norm,
                                                         const std::optional<at::Tensor>& cos,
                                                         const std::optional<at::Tensor>& sin,
                                                         double eps) {
  const Widths widths = check_arguments(pooled, map, norm, cos, sin, eps);
  PreparedGateRepresentatives prepared;
  prepared.pooled = pooled;
  if (map) prepared.map = map->contiguous();
  if (norm) prepared.norm = norm->contiguous();
  GateRepresentativesParams& params = prepared.params;
  params.element = element_of(pooled, "gate_representatives: pooled");
  params.batch = pooled.size(0);
  params.heads = pooled.size(1);
  params.out_heads = widths.out_heads.expect_int();
  params.count = pooled.size(2);
  params.in = pooled.size(3);
  params.width = widths.width.expect_int();
  params.pooled_strides = {pooled.stride(0), pooled.stride(1), pooled.stride(2)};
  params.eps = eps;
  prepared.reps = at::empty({params.batch, params.out_heads, params.count, params.width},
                            pooled.options().dtype(at::kBFloat16));
  params.reps_strides = {prepared.reps.stride(0), prepared.reps.stride(1), prepared.reps.stride(2)};
  params.pooled = pooled.const_data_ptr();
  params.reps = prepared.reps.mutable_data_ptr();
  if (map) params.map = prepared.map.const_data_ptr();
  if (norm) params.norm = prepared.norm.const_data_ptr<float>();
  if (cos) {
    params.cos = cos->const_data_ptr<float>();
    params.sin = sin->const_data_ptr<float>();
    params.angle_stride = cos->stride(0);
  }
  return prepared;
}

TORCH_LIBRARY_IMPL(seer, Meta, m) {
  m.impl("gate_representatives", &gate_representatives_meta);
}

TORCH_LIBRARY_IMPL(seer, Autograd, m) {
  m.impl("gate_representatives", torch::autograd::autogradNotImplementedFallback());
}

}  // namespace seer
