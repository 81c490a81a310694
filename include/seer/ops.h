// The operators of Seer for C++ users: typed calls into the PyTorch dispatcher.
//
// The same operators are reachable from Python after
//   torch.ops.load_library("build/libseer_ops.so")
// as torch.ops.seer.<name>, with the arguments in the order given here.
//
// Conventions of the attention operators
//   layout      q [batch, num_q_heads, q_len, head_dim],
//               k and v [batch, num_kv_heads, kv_len, head_dim]
//   strides     any, as long as the last dimension is contiguous (block_mask too): a transposed
//               [batch, length, heads, head_dim] view is read where it lies, and nothing is copied
//   heads       num_q_heads is a multiple of num_kv_heads; query head h reads key/value head
//               h / (num_q_heads / num_kv_heads)
//   head_dim    CPU: 1 to 512; CUDA: 64 and 128
//   lengths     any, 0 included; the last block may be partial. A block is `block_size` consecutive
//               tokens
//   causal      query i sees the keys j <= i + kv_len - q_len: aligned at the end
//   empty rows  a query that sees no key gets out = 0 and lse = -inf
//   lse         natural logarithm, float32 [batch, num_q_heads, q_len]
//   dtypes      of q, k and v, all the same; CPU: float32 and bfloat16 through the fast kernels,
//               float64 through the plain reference; CUDA: bfloat16 and float16
//   block_size  CPU: 16, 32, 64 or 128; CUDA: 64 or 128
//   scale       finite
//   devices     all tensors on one. CUDA: GPUs of compute capability 9.0 (Hopper), in builds by `make cuda`
//               (seer/cuda_devices.h tells); enqueued on LibTorch's current stream without waiting for it, with the same
//               bits on every run, and with memory from LibTorch's allocator alone: at most 70 MB beside the outputs at
//               131,072 tokens. The tensor memory accelerator reads addresses and strides (where a dimension is longer
//               than 1) that are multiples of 16 bytes; a q, k or v with others, or expanded by a stride of 0, is copied
//               first. So is q where scale is 0 or negative
//   gradients   block_sparse_attention: of q, k and v, through out and lse. Backward through another operator, and a
//               second derivative, raise
//   errors      c10::Error that names the argument, its value and what is accepted
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string_view>
#include <tuple>

namespace seer {

// Attention over the key blocks that `block_mask` keeps.
//   block_mask  bool [batch | 1, num_q_heads | num_kv_heads | 1, ceil(q_len / block_size),
//               ceil(kv_len / block_size)]; with is_causal, keys after the query are hidden also
//               inside a kept block. Absent: every block is kept, which is dense attention
//   scale       multiplies q.k before the softmax; 1 / sqrt(head_dim) when absent
// Returns (out, lse); out has the shape and dtype of q, and its memory layout where q is
// non-overlapping and dense (else it is contiguous). Keys and values of blocks that are not kept
// are never read.
std::tuple<at::Tensor, at::Tensor> block_sparse_attention(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    const std::optional<at::Tensor>& block_mask, std::int64_t block_size = 64,
    bool is_causal = true, std::optional<double> scale = std::nullopt);

// The gradients of q, k and v, which autograd takes from here:
//   grad_out  like out; a gradient whose last dimension is not contiguous, such as an expanded one, is copied first
//   grad_lse  like lse; absent: zeros
//             and so is, on a GPU, a grad_out or out that the tensor memory accelerator cannot read
//   out, lse  what block_sparse_attention returned for the other arguments; or the out and lse of a larger attention, of
//             which these keys are a part: then the gradients are this part's
// Returns (grad_q, grad_k, grad_v), each with the dtype of q, k and v, in the memory layout of its tensor where that is
// non-overlapping and dense (else contiguous). Gradients of keys and values are summed over the query heads that read
// them. A query that sees no key, and a key that no query sees, get zeros. Blocks that are not kept are never read. The
// same bits on every run, and on the CPU for every number of threads. CUDA: for what the forward runs, with at most 150 MB
// beside the gradients at 131,072 tokens.
std::tuple<at::Tensor, at::Tensor, at::Tensor> block_sparse_attention_backward(
    const at::Tensor& grad_out, const std::optional<at::Tensor>& grad_lse, const at::Tensor& q,
    const at::Tensor& k, const at::Tensor& v, const at::Tensor& out, const at::Tensor& lse,
    const std::optional<at::Tensor>& block_mask, std::int64_t block_size = 64,
    bool is_causal = true, std::optional<double> scale = std::nullopt);

// Dense attention that also returns, for each pair of a query block and a key block, the maximum
// softmax probability inside it: the teacher of the attention gates. Returns (out, lse, block_map);
// block_map is float32 [batch, num_q_heads, ceil(q_len / block_size), ceil(kv_len / block_size)], 0
// where nothing is visible.
std::tuple<at::Tensor, at::Tensor, at::Tensor> attention_with_block_map(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, std::int64_t block_size = 64,
    bool is_causal = true, std::optional<double> scale = std::nullopt);

// The contract of the published SeerAttention operator: (out, pooled), where pooled is the block
// map of attention_with_block_map with each row divided by its sum. A row without any visible key
// stays 0.
std::tuple<at::Tensor, at::Tensor> attn_with_pooling(const at::Tensor& q, const at::Tensor& k,
                                                     const at::Tensor& v, bool is_causal,
                                                     double scale, std::int64_t block_size = 64);

// Pools x [batch, heads, length, head_dim] over blocks of tokens.
//   block_size  a power of two from 1 to 128: gates also pool over parts of a block
//   kinds       any of "max", "min", "avg", written together or with commas ("maxminavg", "max,avg")
// The result is their concatenation along the last dimension, always in the order max, min, avg.
// Returns [batch, heads, ceil(length / block_size), head_dim * number of kinds] in the dtype of x;
// a partial last block pools its real tokens.
at::Tensor pool_blocks(const at::Tensor& x, std::int64_t block_size, std::string_view kinds);

// Turns gate scores into a block mask.
//   scores  float32 or bfloat16
//           [batch, heads, ceil(q_len / block_size), ceil(kv_len / block_size)]; "ratio" and
//           "budget" use only their order, "threshold" and "mass" take them as the probabilities
//           of a row's blocks (the softmax of a gate's logits). Scores of blocks after the query
//           are never looked at
//   policy  "dense" or "gate:<rule>[,key=value...]" with one of the rules
//             ratio=R      the max(1, int((1 - sqrt(1 - R)) * key blocks)) highest blocks of each
//                          row, 0 < R <= 1
//             threshold=T  the blocks with a score above T; a row may be left without any
//             mass=M       the fewest blocks whose scores sum to M of the row's visible total,
//                          0 < M <= 1
//             budget=N     the max(1, N / block_size) highest blocks of each row, N in tokens
//           and any of the keys
//             sink=N, local=N  the first and the last N visible blocks of a row are kept too
//             dense_rows=N     the last N query block rows keep every visible block
//           Ties go to the lower block index
// Returns a bool mask of the shape of scores; blocks that no query of the row can see are never
// set.
//
// A visible score that is NaN is an error on the CPU, as is one below 0 or infinite with "mass". On
// CUDA nothing waits for the scores, so that there is none: NaN is the lowest of all scores; with
// "mass", NaN and negative scores count as 0 and infinity as the largest float32. CUDA takes
// float32 and bfloat16 scores. The same bits on every run.
at::Tensor select_blocks(const at::Tensor& scores, std::string_view policy, std::int64_t q_len,
                         std::int64_t kv_len, std::int64_t block_size);

// How many blocks of a bool mask are kept, of any shape: int64 [], without waiting for a GPU. On CUDA it costs one pass at
// the memory's speed, where Tensor::sum() takes bytes one by one.
at::Tensor count_blocks(const at::Tensor& block_mask);

// The operators of a gate for inference (seer/gate.h says what they compute). CUDA: kernels for bfloat16 and float16, and
// nothing waits for the device. CPU: the plain reference in double precision.

// rep = RoPE(norm(pooled map)), each of the three where it is given, rounded once to bfloat16.
//   pooled    [batch, heads, representatives, in]; bfloat16, or float16 on CUDA, or float32 and float64 on the CPU; its
//             last dimension is contiguous
//   map       [out_heads, width, in] of the dtype of pooled; out_heads is a multiple of heads, and several maps may read
//             one head. Absent: width is in. CUDA: width 64 or 128, in a multiple of 64 up to 512
//   norm      float32 [width]: rows are divided by sqrt(mean of squares + eps), then weighted
//   cos, sin  float32 [representatives, width / 2], rows of any stride: pairs (i, i + width / 2) are turned by them
// Returns bfloat16 [batch, out_heads, representatives, width].
at::Tensor gate_representatives(const at::Tensor& pooled, const std::optional<at::Tensor>& map,
                                const std::optional<at::Tensor>& norm,
                                const std::optional<at::Tensor>& cos,
                                const std::optional<at::Tensor>& sin, double eps);

// For each query block and key block, the largest product of their representatives times `scale`; -inf where no query of
// the block sees the key block. Queries stand at the end of the keys.
//   q_reps    [batch, heads, ceil(q_len / q_tokens), width], one for so many tokens
//   k_reps    [batch, key heads, ceil(kv_len / k_tokens), width]; the heads are a multiple of the key heads
//   q_tokens, k_tokens  divide block_size. CUDA: bfloat16, width 64 or 128, at most 16 query representatives a block
// Returns float32 [batch, heads, ceil(q_len / block_size), ceil(kv_len / block_size)].
at::Tensor gate_block_logits(const at::Tensor& q_reps, const at::Tensor& k_reps, std::int64_t q_len,
                             std::int64_t kv_len, std::int64_t block_size, std::int64_t q_tokens,
                             std::int64_t k_tokens, double scale);

// select_blocks() of these logits, or of each row's softmax where the policy is of threshold or mass, without the logits
// as a tensor. NaN ranks last on each device.
//   thresholds  float32 [heads]: beside a policy of threshold, in its place
at::Tensor select_gate_blocks(const at::Tensor& q_reps, const at::Tensor& k_reps,
                              std::string_view policy, const std::optional<at::Tensor>& thresholds,
                              std::int64_t q_len, std::int64_t kv_len, std::int64_t block_size,
                              std::int64_t q_tokens, std::int64_t k_tokens, double scale);

// The operators below are the rest of a decoder layer, with all tensors on one device. CPU: float32 and bfloat16 with
// arithmetic in float32, and float64 through the plain reference. CUDA: float32, bfloat16 and float16 with arithmetic in
// float32, for the GPUs that the attention operators run on.

// x [batch, in_features] times the transpose of weight [out_features, in_features], plus bias [out_features]; all of one
// dtype. Returns [batch, out_features]. Reads the matrix once for the whole batch and is meant for a few rows, as in
// decoding; for many a matrix product is faster. CUDA: at::linear.
at::Tensor gemv(const at::Tensor& x, const at::Tensor& weight,
                const std::optional<at::Tensor>& bias = std::nullopt);

// x / sqrt(mean(x^2) + eps) * weight over the last dimension of x, [rows, width] or [rows, groups, width]; weight [width].
// The normalised row is rounded to the dtype before the weight multiplies it. Returns a contiguous tensor like x.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps);

// Turns x [rows, heads, head_dim] by angles: with i < head_dim / 2 and j = i + head_dim / 2,
//   out[i] = x[i] cos[i] - x[j] sin[i],  out[j] = x[j] cos[i] + x[i] sin[i]
//   cos, sin  float32 [rows, head_dim / 2], contiguous
//   out       like x, written; x itself or without overlap with it
void rope(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, const at::Tensor& out);

// rope(), and in the same pass over x what pool_blocks() makes of x as it was, with the rows as tokens: on CUDA, pooling
// then costs its output alone. Returns [1, heads, ceil(rows / block_size), head_dim * number of kinds] in the dtype of x.
at::Tensor rope_and_pool(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                         const at::Tensor& out, std::int64_t block_size, std::string_view kinds);

// silu(gate) * up of gate_up [rows, 2 * width], which holds gate before up. Returns [rows, width].
at::Tensor swiglu(const at::Tensor& gate_up);

// Gradients of rms_norm() and swiglu() with respect to (x, weight) and gate_up, from `grad`, that of the output: of its
// shape and dtype, with a contiguous last dimension. That of rms_norm() does not see the rounding of the normalised row.
// The same bits on every run. Autograd calls them; of the other operators here it has no derivative.
std::tuple<at::Tensor, at::Tensor> rms_norm_backward(const at::Tensor& grad, const at::Tensor& x,
                                                     const at::Tensor& weight, double eps);
at::Tensor swiglu_backward(const at::Tensor& grad, const at::Tensor& gate_up);

}  // namespace seer
