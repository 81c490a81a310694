#include "ops/gpu/attention_on_gpu.h"

#include <ATen/ATen.h>

#include <cstring>
#include <stdexcept>

#include "seer/ops.h"

namespace seer::test {
namespace {

at::ScalarType dtype_of(Element element) {
  return element == Element::kFloat16 ? at::kHalf : at::kBFloat16;
}

// Bytes on the GPU, the first of them `misalignment` after a multiple of 256.
at::Tensor upload(const void* data, std::size_t size, std::int64_t misalignment) {
  const auto length = static_cast<std::int64_t>(size);
  const at::Tensor host = at::empty({length}, at::kByte);
  if (size > 0) std::memcpy(host.mutable_data_ptr(), data, size);
  const at::Tensor device = at::empty({misalignment + length}, host.options().device(at::kCUDA));
  at::Tensor bytes = device.narrow(0, misalignment, length);
  bytes.copy_(host);
  return bytes;
}

at::Tensor on_gpu(const HostTensor& tensor, const AttentionCase& problem) {
  const at::Tensor bytes =
      upload(tensor.data(), tensor.size_bytes(), problem.layout == Layout::kOddAddress ? 2 : 0);
  const Strides& strides = tensor.strides();
  const at::Tensor elements = bytes.view(dtype_of(problem.element));
  return elements.as_strided({tensor.batch(), tensor.heads(), tensor.length(), tensor.head_dim()},
                             {strides.batch, strides.head, strides.row, 1},
                             elements.storage_offset());
}

at::Tensor mask_on_gpu(const AttentionCase& problem, const AttentionInputs& inputs) {
  const AttentionParams params = inputs.params(problem);
  const std::int64_t q_blocks = problem.num_q_blocks(), kv_blocks = problem.num_kv_blocks();
  if (params.block_mask == nullptr) {
    return at::ones({1, 1, q_blocks, kv_blocks}, at::TensorOptions(at::kBool).device(at::kCUDA));
  }
  const std::vector<std::uint8_t>& mask = inputs.mask_bytes();
  const at::Tensor bytes = upload(mask.data(), mask.size(), 0).view(at::kBool);
  const Strides& strides = params.mask_strides;
  const std::int64_t heads =
      strides.head == 0 ? 1 : problem.num_q_heads / params.mask_heads_per_group;
  return bytes.as_strided({strides.batch == 0 ? 1 : problem.batch, heads, q_blocks, kv_blocks},
                          {strides.batch, strides.head, strides.row, 1});
}

template <typename Value>
std::vector<Value> values_of(const at::Tensor& tensor, at::ScalarType dtype) {
  const at::Tensor host = tensor.cpu().to(dtype).contiguous();
  const Value* values = host.const_data_ptr<Value>();
  return {values, values + host.numel()};
}

}  // namespace

GpuAttentionInputs on_gpu(const AttentionCase& problem, const AttentionInputs& inputs) {
  return {on_gpu(inputs.q, problem), on_gpu(inputs.k, problem), on_gpu(inputs.v, problem),
          mask_on_gpu(problem, inputs)};
}

AttentionResult run_on_gpu(const AttentionCase& problem, const AttentionInputs& inputs) {
  const GpuAttentionInputs device = on_gpu(problem, inputs);
  at::Tensor out, lse, block_map;
  if (problem.block_map) {
    if (problem.mask != MaskFamily::kNone) throw std::logic_error("no operator does both");
    std::tie(out, lse, block_map) = attention_with_block_map(
        device.q, device.k, device.v, problem.block_size, problem.is_causal, problem.scale());
  } else {
    std::tie(out, lse) =
        block_sparse_attention(device.q, device.k, device.v, device.block_mask, problem.block_size,
                               problem.is_causal, problem.scale());
  }
  AttentionResult result;
  result.out = values_of<double>(out, at::kDouble);
  result.lse = values_of<float>(lse, at::kFloat);
  if (problem.block_map) result.block_map = values_of<float>(block_map, at::kFloat);
  if (out.scalar_type() != dtype_of(problem.element)) result.damage.emplace_back("in out's dtype");
  return result;
}

}  // namespace seer::test
