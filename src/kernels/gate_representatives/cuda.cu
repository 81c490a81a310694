#include "kernels/gate_representatives/cuda.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "base/ceil_div.h"
#include "kernels/device/check.cuh"
#include "kernels/gate_representatives/sm90/kernel.cuh"
#include "kernels/hopper/tensor_map.cuh"

namespace seer {
namespace {

constexpr int kMostSharedBytes = 227 * 1024;  // of a thread block on compute capability 9.0

template <typename T, int kWidth>
void launch(const GateRepresentativesParams& params, int num_multiprocessors, CUstream_st* stream) {
  const bool has_map = params.map != nullptr;
  sm90::RepsArguments arguments = {};
  arguments.params = params;
  for (int slots = sm90::kRepsMostSlots; slots > 0; --slots) {
    arguments.layout = sm90::RepsLayout::of(params.in, params.width, has_map, slots);
    if (arguments.layout.total_bytes() <= kMostSharedBytes) break;
  }
  const int shared_bytes = arguments.layout.total_bytes();
  if (has_map) {
    arguments.pooled =
        hopper::make_tensor_map(params.pooled, params.element, params.batch, params.heads,
                                params.count, params.in, params.pooled_strides, sm90::kRepsRows);
    const std::int64_t size = params.width * params.in;
    arguments.map =
        hopper::make_tensor_map(params.map, params.element, 1, params.out_heads, params.width,
                                params.in, {params.out_heads * size, size, params.in}, kWidth);
  }
  const auto kernel = &sm90::gate_representatives_kernel<T, kWidth>;
  check_cuda(
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes),
      "cudaFuncSetAttribute");
  // As many thread blocks as run at once, so that each loads its map once.
  const auto heads = static_cast<int>(params.batch * params.out_heads);
  const int at_once = num_multiprocessors * (2 * shared_bytes <= kMostSharedBytes ? 2 : 1);
  arguments.tiles_of_head = static_cast<int>(ceil_div(params.count, std::int64_t{sm90::kRepsRows}));
  arguments.blocks_of_head = std::clamp(at_once / heads, 1, arguments.tiles_of_head);
  kernel<<<static_cast<unsigned>(heads * arguments.blocks_of_head), sm90::kRepsThreads,
           shared_bytes, stream>>>(arguments);
  check_launch("gate_representatives_kernel");
}

template <typename T>
void launch(const GateRepresentativesParams& params, int num_multiprocessors, CUstream_st* stream) {
  params.width == 64 ? launch<T, 64>(params, num_multiprocessors, stream)
                     : launch<T, 128>(params, num_multiprocessors, stream);
}

}  // namespace

bool has_gate_representatives_cuda(const GateRepresentativesParams& params) {
  return (params.element == Element::kBFloat16 || params.element == Element::kFloat16) &&
         (params.width == 64 || params.width == 128) && params.in % 64 == 0 && params.in <= 512;
}

void gate_representatives_cuda(const GateRepresentativesParams& params, int num_multiprocessors,
                               CUstream_st* stream) {
  if (!has_gate_representatives_cuda(params)) {
    throw std::runtime_error(
        std::string("gate_representatives: ") + element_name(params.element) + ", width " +
        std::to_string(params.width) + ", " + std::to_string(params.in) +
        " inputs: no kernel (supported: bfloat16 or float16, width 64 or 128, inputs a multiple of "
        "64 up to 512)");
  }
  if (params.batch * params.out_heads * params.count == 0) return;
  params.element == Element::kBFloat16 ? launch<__nv_bfloat16>(params, num_multiprocessors, stream)
                                       : launch<__half>(params, num_multiprocessors, stream);
}

}  // namespace seer
