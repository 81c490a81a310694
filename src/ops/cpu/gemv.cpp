#include "ops/gemv.h"

#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>

#include "base/cpu_isa.h"
#include "kernels/gemv/cpu.h"
#include "kernels/gemv/reference.h"

namespace seer {
namespace {

at::Tensor gemv_cpu_key(const at::Tensor& x, const at::Tensor& weight,
                        const std::optional<at::Tensor>& bias) {
  const PreparedGemv prepared = prepare_gemv(x, weight, bias);
  const GemvParams& params = prepared.params;
  if (prepared.out.numel() == 0) return prepared.out;

  // About 64k products a task: enough to pay for waking a thread.
  const std::int64_t grain =
      std::max<std::int64_t>(1, 65536 / std::max<std::int64_t>(1, params.in_features));
  if (params.element == Element::kFloat64) {
    at::parallel_for(0, params.out_features, grain, [&](std::int64_t begin, std::int64_t end) {
      gemv_reference(params, begin, end);
    });
  } else {
    const CpuIsa isa = cpu_isa();
    at::parallel_for(0, params.out_features, grain, [&](std::int64_t begin, std::int64_t end) {
      gemv_cpu(params, isa, begin, end);
    });
  }
  return prepared.out;
}

}  // namespace

TORCH_LIBRARY_IMPL(seer, CPU, m) {
  m.impl("gemv", &gemv_cpu_key);
}

}  // namespace seer
