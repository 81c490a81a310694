#include "ops/row_layers.h"

#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>

#include "base/cpu_isa.h"
#include "kernels/row_layers/cpu.h"
#include "kernels/row_layers/reference.h"

namespace seer {
namespace {

// Rows of a task: about 16k elements, enough to pay for waking a thread.
std::int64_t grain_of(std::int64_t row_elements) {
  return std::max<std::int64_t>(1, 16384 / std::max<std::int64_t>(1, row_elements));
}

template <typename Params>
void run(const Params& params, std::int64_t row_elements,
         void (*fast)(const Params&, CpuIsa, std::int64_t, std::int64_t),
         void (*reference)(const Params&, std::int64_t, std::int64_t)) {
  if (params.rows == 0 || row_elements == 0) return;
  const bool is_fast = params.element != Element::kFloat64;
  const CpuIsa isa = is_fast ? cpu_isa() : CpuIsa::kPortable;
  at::parallel_for(0, params.rows, grain_of(row_elements),
                   [&](std::int64_t begin, std::int64_t end) {
                     if (is_fast) {
                       fast(params, isa, begin, end);
                     } else {
                       reference(params, begin, end);
                     }
                   });
}

at::Tensor rms_norm_cpu_key(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const PreparedRmsNorm prepared = prepare_rms_norm(x, weight, eps);
  run(prepared.params, prepared.params.groups * prepared.params.width, &rms_norm_cpu,
      &rms_norm_reference);
  return prepared.out;
}

void rope_cpu_key(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                  const at::Tensor& out) {
  const RopeParams params = prepare_rope(x, cos, sin, out);
  run(params, params.heads * params.head_dim, &rope_cpu, &rope_reference);
}

at::Tensor swiglu_cpu_key(const at::Tensor& gate_up) {
  const PreparedSwiglu prepared = prepare_swiglu(gate_up);
  run(prepared.params, prepared.params.width, &swiglu_cpu, &swiglu_reference);
  return prepared.out;
}

}  // namespace

TORCH_LIBRARY_IMPL(seer, CPU, m) {
  m.impl("rms_norm", &rms_norm_cpu_key);
  m.impl("rope", &rope_cpu_key);
  m.impl("swiglu", &swiglu_cpu_key);
}

}  // namespace seer
