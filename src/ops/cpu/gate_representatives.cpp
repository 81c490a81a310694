#include "ops/gate_representatives.h"

#include <ATen/Parallel.h>
#include <torch/library.h>

#include "kernels/gate_representatives/reference.h"

namespace seer {
namespace {

at::Tensor gate_representatives_cpu_key(const at::Tensor& pooled,
                                        const std::optional<at::Tensor>& map,
                                        const std::optional<at::Tensor>& norm,
                                        const std::optional<at::Tensor>& cos,
                                        const std::optional<at::Tensor>& sin, double eps) {
  const PreparedGateRepresentatives prepared =
      prepare_gate_representatives(pooled, map, norm, cos, sin, eps);
  const GateRepresentativesParams& params = prepared.params;
  if (prepared.reps.numel() == 0) return prepared.reps;
  at::parallel_for(0, params.batch * params.out_heads * params.count, 1,
                   [&](std::int64_t begin, std::int64_t end) {
                     gate_representatives_reference(params, begin, end);
                   });
  return prepared.reps;
}

}  // namespace

TORCH_LIBRARY_IMPL(seer, CPU, m) {
  m.impl("gate_representatives", &gate_representatives_cpu_key);
}

}  // namespace seer
