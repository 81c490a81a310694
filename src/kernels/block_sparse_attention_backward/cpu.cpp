#include "kernels/block_sparse_attention_backward/cpu.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/block_sparse_attention_backward/cpu.cpp"
#include "hwy/foreach_target.h"  // includes this file once for each instruction set
#include "hwy/highway.h"

#undef SEER_TARGET_NAMESPACE
#undef SEER_BEFORE_NAMESPACE
#undef SEER_AFTER_NAMESPACE
#define SEER_TARGET_NAMESPACE HWY_NAMESPACE
#define SEER_BEFORE_NAMESPACE HWY_BEFORE_NAMESPACE
#define SEER_AFTER_NAMESPACE HWY_AFTER_NAMESPACE
#include "kernels/block_sparse_attention_backward/key_block-inl.h"
#include "kernels/simd/float_lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace seer {
namespace HWY_NAMESPACE {

template <class T>
float Dot(const T* a, const T* b, std::int64_t dim) {
  const F32 d;
  const hn::CappedTag<float, 1> one;
  V32 even = hn::Zero(d);
  V32 odd = hn::Zero(d);
  std::int64_t i = 0;
  for (; i + 2 * kLanes <= dim; i += 2 * kLanes) {
    even = hn::MulAdd(LoadFloats(d, a + i), LoadFloats(d, b + i), even);
    odd = hn::MulAdd(LoadFloats(d, a + i + kLanes), LoadFloats(d, b + i + kLanes), odd);
  }
  auto sum = hn::Set(one, hn::GetLane(hn::SumOfLanes(d, hn::Add(even, odd))));
  for (; i < dim; ++i) sum = hn::MulAdd(LoadFloats(one, a + i), LoadFloats(one, b + i), sum);
  return hn::GetLane(sum);
}

// Calls row_function(flat_row, batch, head, row) for the rows of a range of query blocks.
struct QueryRows {
  std::int64_t batch, head, begin, end;  // rows [begin, end) of one head
};
QueryRows RowsOf(const AttentionParams& params, std::int64_t flat_block) {
  const std::int64_t num_q_blocks = ceil_div(params.q_len, params.block_size);
  const std::int64_t flat_head = flat_block / num_q_blocks;
  const std::int64_t begin = flat_block % num_q_blocks * params.block_size;
  const std::int64_t end = begin + params.block_size;
  return {flat_head / params.num_q_heads, flat_head % params.num_q_heads, begin,
          end < params.q_len ? end : params.q_len};
}

template <class T>
void Rows(const AttentionBackwardParams& params, const AttentionBackwardState& state,
          std::int64_t flat_block) {
  constexpr float kLog2E = 1.44269504089f;
  const AttentionParams& forward = params.forward;
  const QueryRows rows = RowsOf(forward, flat_block);
  const T* grad_out = static_cast<const T*>(params.grad_out) +
                      rows.batch * params.grad_out_strides.batch +
                      rows.head * params.grad_out_strides.head;
  const T* out = static_cast<const T*>(forward.out) + rows.batch * forward.out_strides.batch +
                 rows.head * forward.out_strides.head;
  const std::int64_t first = (rows.batch * forward.num_q_heads + rows.head) * forward.q_len;
  for (std::int64_t row = rows.begin; row < rows.end; ++row) {
    const std::int64_t flat_row = first + row;
    const float lse = forward.lse[flat_row];
    if (lse == -__builtin_inff()) {
      state.lse2[flat_row] = __builtin_inff();
      state.delta[flat_row] = 0.0f;
      continue;
    }
    float delta = Dot(grad_out + row * params.grad_out_strides.row,
                      out + row * forward.out_strides.row, forward.head_dim);
    if (params.grad_lse != nullptr) delta -= params.grad_lse[flat_row];
    state.lse2[flat_row] = lse * kLog2E;
    state.delta[flat_row] = delta * static_cast<float>(forward.scale);
  }
}

void RowsPhase(const AttentionBackwardParams& params, const AttentionBackwardState& state,
               std::int64_t begin, std::int64_t end) {
  for (std::int64_t block = begin; block < end; ++block) {
    if (params.forward.element == Element::kFloat32) {
      Rows<float>(params, state, block);
    } else {
      Rows<std::uint16_t>(params, state, block);
    }
  }
}

void KeyBlockPhase(const AttentionBackwardParams& params, const AttentionBackwardState& state,
                   std::int64_t task, void* scratch) {
  const BackwardLayout layout = backward_layout(params.forward, kPanelWidth);
  KeyBlock(params, state, layout, task, static_cast<std::uint8_t*>(scratch)).Run();
}

void FinishPhase(const AttentionBackwardParams& params, const AttentionBackwardState& state,
                 std::int64_t begin, std::int64_t end) {
  const AttentionParams& forward = params.forward;
  const std::int64_t bytes = ElementBytes(forward);
  const Strides& strides = params.grad_q_strides;
  const QueryGradient sums = SumsOfGradQ(params, state);
  for (std::int64_t block = begin; block < end; ++block) {
    const bool is_zero = state.done[block] == 0;
    if (!is_zero && state.grad_q == nullptr) continue;
    const QueryRows rows = RowsOf(forward, block);
    for (std::int64_t row = rows.begin; row < rows.end; ++row) {
      std::uint8_t* to =
          static_cast<std::uint8_t*>(params.grad_q) +
          (rows.batch * strides.batch + rows.head * strides.head + row * strides.row) * bytes;
      if (is_zero) {
        __builtin_memset(to, 0, static_cast<std::size_t>(forward.head_dim * bytes));
      } else {
        NarrowRow(sums.base + rows.batch * sums.strides.batch + rows.head * sums.strides.head +
                      row * sums.strides.row,
                  forward.head_dim, to);
      }
    }
  }
}

std::int64_t PanelWidth() {
  return kPanelWidth;
}

}  // namespace HWY_NAMESPACE
}  // namespace seer
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

#include "kernels/simd/kernel_of.h"

namespace seer {

std::int64_t attention_backward_num_tasks(const AttentionParams& params) {
  return params.batch * params.num_kv_heads * ceil_div(params.kv_len, params.block_size);
}

std::size_t attention_backward_scratch_bytes(const AttentionParams& params, CpuIsa isa) {
  return backward_layout(params, SEER_KERNEL_OF(isa, PanelWidth)()).bytes;
}

void attention_backward_rows(const AttentionBackwardParams& params,
                             const AttentionBackwardState& state, CpuIsa isa, std::int64_t begin,
                             std::int64_t end) {
  SEER_KERNEL_OF(isa, RowsPhase)(params, state, begin, end);
}

void attention_backward_task(const AttentionBackwardParams& params,
                             const AttentionBackwardState& state, CpuIsa isa, std::int64_t task,
                             void* scratch) {
  SEER_KERNEL_OF(isa, KeyBlockPhase)(params, state, task, scratch);
}

void attention_backward_finish(const AttentionBackwardParams& params,
                               const AttentionBackwardState& state, CpuIsa isa, std::int64_t begin,
                               std::int64_t end) {
  SEER_KERNEL_OF(isa, FinishPhase)(params, state, begin, end);
}

}  // namespace seer

#endif  // HWY_ONCE
