#include "kernels/gate_representatives/cuda.h"

#include <stdexcept>
#include <string>

#include "base/ceil_div.h"
#include "kernels/device/check.cuh"
#include "kernels/gate_representatives/sm90/kernel.cuh"

namespace seer {
namespace {

template <typename T, int kWidth>
void launch(const GateRepresentativesParams& params, CUstream_st* stream) {
  using Layout = sm90::RepsLayout<kWidth>;
  const auto kernel = &sm90::gate_representatives_kernel<T, kWidth>;
  check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  Layout::kSharedBytes),
             "cudaFuncSetAttribute");
  const std::int64_t tiles = ceil_div(params.count, std::int64_t{sm90::kRepsRows});
  kernel<<<static_cast<unsigned>(tiles * params.out_heads * params.batch), sm90::kRepsThreads,
           Layout::kSharedBytes, stream>>>(params);
  check_launch("gate_representatives_kernel");
}

template <typename T>
void launch(const GateRepresentativesParams& params, CUstream_st* stream) {
  params.width == 64 ? launch<T, 64>(params, stream) : launch<T, 128>(params, stream);
}

}  // namespace

bool has_gate_representatives_cuda(const GateRepresentativesParams& params) {
  return (params.element == Element::kBFloat16 || params.element == Element::kFloat16) &&
         (params.width == 64 || params.width == 128) && params.in % sm90::kRepsColumns == 0;
}

void gate_representatives_cuda(const GateRepresentativesParams& params, CUstream_st* stream) {
  if (!has_gate_representatives_cuda(params)) {
    throw std::runtime_error(
        std::string("gate_representatives: ") + element_name(params.element) + ", width " +
        std::to_string(params.width) + ", " + std::to_string(params.in) +
        " inputs: no kernel (supported: bfloat16 or float16, width 64 or 128, inputs a multiple of "
        "64)");
  }
  if (params.batch * params.out_heads * params.count == 0) return;
  params.element == Element::kBFloat16 ? launch<__nv_bfloat16>(params, stream)
                                       : launch<__half>(params, stream);
}

}  // namespace seer
