#include "ops/gate_representatives.h"

#include <torch/library.h>

#include "kernels/gate_representatives/cuda.h"
#include "ops/cuda/device_call.h"

namespace seer {
namespace {

at::Tensor gate_representatives_cuda_key(const at::Tensor& pooled,
                                         const std::optional<at::Tensor>& map,
                                         const std::optional<at::Tensor>& norm,
                                         const std::optional<at::Tensor>& cos,
                                         const std::optional<at::Tensor>& sin, double eps) {
  const PreparedGateRepresentatives prepared =
      prepare_gate_representatives(readable_by_tma(pooled), map, norm, cos, sin, eps);
  const GateRepresentativesParams& params = prepared.params;
  TORCH_CHECK(has_gate_representatives_cuda(params), "gate_representatives: pooled of ",
              pooled.scalar_type(), ", ", params.in, " inputs, width ", params.width,
              ": there is no kernel on CUDA (supported: bfloat16 or float16, inputs a multiple of "
              "64 up to 512, width 64 or 128)");
  const DeviceCall call("gate_representatives", pooled);
  gate_representatives_cuda(params, call.device().num_multiprocessors, call.stream());
  return prepared.reps;
}

}  // namespace

TORCH_LIBRARY_IMPL(seer, CUDA, m) {
  m.impl("gate_representatives", &gate_representatives_cuda_key);
}

}  // namespace seer
