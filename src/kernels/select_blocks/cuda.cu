#include "kernels/select_blocks/cuda.h"

#include <cuda_bf16.h>

#include <stdexcept>
#include <string>

#include "kernels/select_blocks/rows.h"

namespace seer {

void select_blocks_cuda(const SelectBlocksParams& params, CUstream_st* stream) {
  if (params.batch * params.heads * params.num_q_blocks * params.num_kv_blocks == 0) return;
  switch (params.element) {
    case Element::kFloat32: return selection::select_rows<float>(params, stream);
    case Element::kBFloat16: return selection::select_rows<__nv_bfloat16>(params, stream);
    case Element::kFloat16:
    case Element::kFloat64: break;
  }
  throw std::runtime_error(std::string("select_blocks: scores of ") + element_name(params.element) +
                           " are not supported on CUDA (supported: float32, bfloat16)");
}

}  // namespace seer
