#include "ops/prepare_attention.h"

#include <ATen/EmptyTensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_strided.h>
#include <c10/core/SymBool.h>
#include <c10/core/SymInt.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/ceil_div.h"
#include "ops/element.h"

namespace seer {
namespace {

constexpr std::int64_t kMaxHeadDim = 512;
constexpr std::array<std::int64_t, 4> kBlockSizes = {16, 32, 64, 128};

constexpr const char* kShapeOfQ = "[batch, num_q_heads, q_len, head_dim]";
constexpr const char* kShapeOfKv = "[batch, num_kv_heads, kv_len, head_dim]";
constexpr const char* kShapeOfMask = "[batch, heads, query blocks, key blocks]";

// What holds for every tensor argument: a plain tensor beside q, of four dimensions, whose last
// dimension is contiguous.
void check_tensor(const at::Tensor& tensor, const char* name, const char* shape,
                  const at::Tensor& q) {
  TORCH_CHECK(tensor.defined(), name, ": expected a tensor, got an undefined one");
  TORCH_CHECK(tensor.layout() == at::kStrided, name, ": expected a strided tensor, got layout ",
              tensor.layout());
  TORCH_CHECK(tensor.device() == q.device(), name, ": expected device ", q.device(),
              " (as q), got ", tensor.device());
  TORCH_CHECK(tensor.dim() == 4, name, ": expected 4 dimensions ", shape, ", got ", tensor.dim(),
              " with sizes ", tensor.sym_sizes());
  TORCH_SYM_CHECK(tensor.sym_size(3).sym_le(1) | tensor.sym_stride(3).sym_eq(1), name,
                  ": expected a contiguous last dimension (stride 1), got strides ",
                  tensor.sym_strides(), "; call .contiguous() on it first");
}

void check_dtype_of_q(const at::Tensor& q) {
  const at::ScalarType dtype = q.scalar_type();
  const bool of_both = dtype == at::kBFloat16;
  const bool of_cpu = of_both || dtype == at::kFloat || dtype == at::kDouble;
  const bool of_cuda = of_both || dtype == at::kHalf;
  if (q.is_cuda()) {
    TORCH_CHECK(of_cuda, "q: expected dtype bfloat16 or float16 on CUDA, got ", dtype);
  } else if (q.is_meta()) {
    TORCH_CHECK(of_cpu || of_cuda, "q: expected dtype float32, bfloat16, float16 or float64, got ",
                dtype);
  } else {
    TORCH_CHECK(of_cpu, "q: expected dtype float32, bfloat16 or float64, got ", dtype,
                dtype == at::kHalf ? " (float16 has kernels on CUDA only)" : "");
  }
}

// The shapes that the CUDA kernels are compiled for.
void check_shapes_of_cuda(std::int64_t block_size, const c10::SymInt& head_dim) {
  TORCH_CHECK(block_size == 64 || block_size == 128, "block_size: expected 64 or 128 on CUDA, got ",
              block_size);
  TORCH_SYM_CHECK(head_dim.sym_eq(64) | head_dim.sym_eq(128),
                  "q: expected head_dim 64 or 128 on CUDA, got ", head_dim);
}

void check_same_dtype(const at::Tensor& tensor, const char* name, const at::Tensor& q) {
  TORCH_CHECK(tensor.scalar_type() == q.scalar_type(), name, ": expected dtype ", q.scalar_type(),
              " (as q), got ", tensor.scalar_type());
}

void check_same_size(const at::Tensor& tensor, const char* name, std::int64_t dim, const char* what,
                     const at::Tensor& other, const char* other_name) {
  TORCH_SYM_CHECK(tensor.sym_size(dim).sym_eq(other.sym_size(dim)), name, ": expected ", what, " ",
                  other.sym_size(dim), " (as ", other_name, "), got ", tensor.sym_size(dim),
                  " (sizes ", tensor.sym_sizes(), ")");
}

void check_heads(const at::Tensor& q, const at::Tensor& k) {
  const c10::SymInt num_q_heads = q.sym_size(1);
  const c10::SymInt num_kv_heads = k.sym_size(1);
  TORCH_SYM_CHECK(num_q_heads.sym_eq(0) | num_kv_heads.sym_gt(0),
                  "k: expected at least one head for the ", num_q_heads, " heads of q, got 0");
  TORCH_SYM_CHECK(num_q_heads.sym_eq(0) | (num_q_heads % num_kv_heads.max(1)).sym_eq(0),
                  "q: expected a multiple of the ", num_kv_heads, " heads of k, got ", num_q_heads,
                  " heads");
}

void check_block_mask(const at::Tensor& block_mask, const at::Tensor& q, const at::Tensor& k,
                      std::int64_t block_size) {
  check_tensor(block_mask, "block_mask", kShapeOfMask, q);
  TORCH_CHECK(block_mask.scalar_type() == at::kBool, "block_mask: expected dtype bool, got ",
              block_mask.scalar_type());

  const c10::SymInt batch = q.sym_size(0);
  const c10::SymInt mask_batch = block_mask.sym_size(0);
  TORCH_SYM_CHECK(mask_batch.sym_eq(batch) | mask_batch.sym_eq(1),
                  "block_mask: expected batch 1 or ", batch, " (as q), got ", mask_batch,
                  " (sizes ", block_mask.sym_sizes(), ")");

  const c10::SymInt num_q_heads = q.sym_size(1);
  const c10::SymInt num_kv_heads = k.sym_size(1);
  const c10::SymInt mask_heads = block_mask.sym_size(1);
  TORCH_SYM_CHECK(
      mask_heads.sym_eq(num_q_heads) | mask_heads.sym_eq(num_kv_heads) | mask_heads.sym_eq(1),
      "block_mask: expected 1, ", num_kv_heads, " (as k) or ", num_q_heads, " (as q) heads, got ",
      mask_heads, " (sizes ", block_mask.sym_sizes(), ")");

  const c10::SymInt num_q_blocks = ceil_div(q.sym_size(2), c10::SymInt(block_size));
  TORCH_SYM_CHECK(block_mask.sym_size(2).sym_eq(num_q_blocks), "block_mask: expected ",
                  num_q_blocks, " query blocks (q_len ", q.sym_size(2), ", block_size ", block_size,
                  "), got ", block_mask.sym_size(2), " (sizes ", block_mask.sym_sizes(), ")");
  const c10::SymInt num_kv_blocks = ceil_div(k.sym_size(2), c10::SymInt(block_size));
  TORCH_SYM_CHECK(block_mask.sym_size(3).sym_eq(num_kv_blocks), "block_mask: expected ",
                  num_kv_blocks, " key blocks (kv_len ", k.sym_size(2), ", block_size ", block_size,
                  "), got ", block_mask.sym_size(3), " (sizes ", block_mask.sym_sizes(), ")");
}

c10::DispatchKeySet dispatch_key(const at::TensorOptions& options) {
  return c10::DispatchKeySet(options.computeDispatchKey());
}

at::Tensor allocate_contiguous(c10::SymIntArrayRef sizes, const at::TensorOptions& options,
                               c10::Allocator* allocator) {
  if (allocator == nullptr) return at::empty_symint(sizes, options);
  return at::detail::empty_generic(C10_AS_INTARRAYREF_SLOW(sizes), allocator, dispatch_key(options),
                                   options.dtype().toScalarType(), std::nullopt);
}

void set_block_mask(const at::Tensor& block_mask, AttentionParams& params) {
  params.block_mask = reinterpret_cast<const std::uint8_t*>(block_mask.const_data_ptr<bool>());
  params.mask_strides = attention_strides(block_mask);
  if (block_mask.size(0) == 1) params.mask_strides.batch = 0;
  if (block_mask.size(1) == 1) params.mask_strides.head = 0;
  const std::int64_t mask_heads = std::max<std::int64_t>(block_mask.size(1), 1);
  params.mask_heads_per_group = std::max<std::int64_t>(params.num_q_heads / mask_heads, 1);
}

}  // namespace

void check_attention(const AttentionArguments& arguments) {
  const auto& [q, k, v, block_mask, block_size, is_causal, scale, wants_block_map] = arguments;
  TORCH_CHECK(std::find(kBlockSizes.begin(), kBlockSizes.end(), block_size) != kBlockSizes.end(),
              "block_size: expected 16, 32, 64 or 128, got ", block_size);
  // The kernels multiply in float32.
  TORCH_CHECK(!scale || std::isfinite(static_cast<float>(*scale)),
              "scale: expected a finite float32 number, got ", *scale);

  check_tensor(q, "q", kShapeOfQ, q);
  check_tensor(k, "k", kShapeOfKv, q);
  check_tensor(v, "v", kShapeOfKv, q);
  check_dtype_of_q(q);
  check_same_dtype(k, "k", q);
  check_same_dtype(v, "v", q);

  const c10::SymInt head_dim = q.sym_size(3);
  TORCH_SYM_CHECK(head_dim.sym_ge(1) & head_dim.sym_le(kMaxHeadDim), "q: expected head_dim 1 to ",
                  kMaxHeadDim, ", got ", head_dim);
  if (q.is_cuda()) check_shapes_of_cuda(block_size, head_dim);
  check_same_size(k, "k", 0, "batch", q, "q");
  check_same_size(k, "k", 3, "head_dim", q, "q");
  check_same_size(v, "v", 0, "batch", k, "k");
  check_same_size(v, "v", 1, "num_kv_heads", k, "k");
  check_same_size(v, "v", 2, "kv_len", k, "k");
  check_same_size(v, "v", 3, "head_dim", k, "k");
  check_heads(q, k);

  if (block_mask != nullptr) check_block_mask(*block_mask, q, k, block_size);
}

at::Tensor allocate_like(const at::Tensor& tensor, c10::Allocator* allocator) {
  if (!tensor.is_non_overlapping_and_dense())
    return allocate_contiguous(tensor.sym_sizes(), tensor.options(), allocator);
  if (allocator == nullptr)
    return at::empty_strided_symint(tensor.sym_sizes(), tensor.sym_strides(), tensor.options());
  return at::detail::empty_strided_generic(tensor.sizes(), tensor.strides(), allocator,
                                           dispatch_key(tensor.options()), tensor.scalar_type());
}

Strides attention_strides(const at::Tensor& tensor) {
  return {.batch = tensor.stride(0), .head = tensor.stride(1), .row = tensor.stride(2)};
}

AttentionOutputs prepare_attention(const AttentionArguments& arguments, c10::Allocator* allocator) {
  check_attention(arguments);
  const at::Tensor& q = arguments.q;
  const at::TensorOptions float32 = q.options().dtype(at::kFloat);
  const c10::SymInt block_size = arguments.block_size;

  AttentionOutputs outputs;
  outputs.out = allocate_like(q, allocator);
  outputs.lse = at::empty_symint({q.sym_size(0), q.sym_size(1), q.sym_size(2)}, float32);
  if (arguments.wants_block_map) {
    const std::array<c10::SymInt, 4> sizes = {q.sym_size(0), q.sym_size(1),
                                              ceil_div(q.sym_size(2), block_size),
                                              ceil_div(arguments.k.sym_size(2), block_size)};
    outputs.block_map = allocate_contiguous(sizes, float32, allocator);
  }
  return outputs;
}

double attention_scale(const AttentionArguments& arguments) {
  return arguments.scale.value_or(1.0 / std::sqrt(static_cast<double>(arguments.q.size(3))));
}

AttentionParams attention_input_params(const AttentionArguments& arguments) {
  const auto& [q, k, v, block_mask, block_size, is_causal, scale, wants_block_map] = arguments;
  AttentionParams params;
  params.q = q.const_data_ptr();
  params.k = k.const_data_ptr();
  params.v = v.const_data_ptr();
  params.q_strides = attention_strides(q);
  params.k_strides = attention_strides(k);
  params.v_strides = attention_strides(v);
  params.element = element_of(q, "q");

  params.batch = q.size(0);
  params.num_q_heads = q.size(1);
  params.num_kv_heads = k.size(1);
  params.q_len = q.size(2);
  params.kv_len = k.size(2);
  params.head_dim = q.size(3);
  params.block_size = block_size;
  params.is_causal = is_causal;
  params.scale = attention_scale(arguments);

  if (block_mask != nullptr) set_block_mask(*block_mask, params);
  return params;
}

AttentionParams attention_params(const AttentionArguments& arguments,
                                 const AttentionOutputs& outputs) {
  AttentionParams params = attention_input_params(arguments);
  params.out = outputs.out.mutable_data_ptr();
  params.lse = outputs.lse.mutable_data_ptr<float>();
  params.out_strides = attention_strides(outputs.out);
  if (arguments.wants_block_map) params.block_map = outputs.block_map.mutable_data_ptr<float>();
  return params;
}

}  // namespace seer
