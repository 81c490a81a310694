#include "kernels/pool_blocks/cpu.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/pool_blocks/cpu.cpp"
#include "hwy/cache_control.h"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#define SEER_TARGET_NAMESPACE HWY_NAMESPACE
#define SEER_BEFORE_NAMESPACE HWY_BEFORE_NAMESPACE
#define SEER_AFTER_NAMESPACE HWY_AFTER_NAMESPACE
#include "kernels/simd/float_lanes-inl.h"

// Once per instruction set. Nothing of the standard library in here: its inline functions would be
// compiled for this instruction set and could then be kept for the whole program.
HWY_BEFORE_NAMESPACE();
namespace seer {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Tokens may lie pages apart, where the machine prefetches nothing by itself. Prefetching past the
// end of the tensor does no harm.
constexpr int kTokensAhead = 4;

// One block of one head.
struct Block {
  std::int64_t tokens;      // in this block, at least 1
  std::int64_t row_stride;  // elements between the tokens of x
  std::int64_t head_dim;    // elements between the kinds of out
};

// kVectors * Lanes(D()) neighbouring columns of one block, which stay in registers while the tokens
// pass by. NaN is kept apart because the machine's max and min drop it.
template <class D, int kVectors, bool kMax, bool kMin, bool kAvg, class T>
HWY_INLINE void pool_columns(const Block& block, const T* HWY_RESTRICT x, T* HWY_RESTRICT out) {
  const D d;
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d));
  hn::Vec<D> largest[kVectors], smallest[kVectors], sum[kVectors];
  hn::Mask<D> nan[kVectors];
  for (int v = 0; v < kVectors; ++v) {
    largest[v] = smallest[v] = sum[v] = LoadFloats(d, x + v * lanes);
    nan[v] = hn::IsNaN(sum[v]);
  }
  for (std::int64_t token = 1; token < block.tokens; ++token) {
    const T* row = x + token * block.row_stride;
    for (std::int64_t byte = 0; byte < kVectors * lanes * std::int64_t{sizeof(T)}; byte += 64) {
      hwy::Prefetch(reinterpret_cast<const char*>(row + kTokensAhead * block.row_stride) + byte);
    }
    for (int v = 0; v < kVectors; ++v) {
      const hn::Vec<D> value = LoadFloats(d, row + v * lanes);
      if (kMax) largest[v] = hn::Max(largest[v], value);
      if (kMin) smallest[v] = hn::Min(smallest[v], value);
      if (kMax || kMin) nan[v] = hn::Or(nan[v], hn::IsNaN(value));
      if (kAvg) sum[v] = hn::Add(sum[v], value);
    }
  }
  const hn::Vec<D> count = hn::Set(d, static_cast<float>(block.tokens));
  for (int v = 0; v < kVectors; ++v) {
    T* slot = out + v * lanes;
    if (kMax) {
      StoreFloats(d, hn::IfThenElse(nan[v], hn::NaN(d), largest[v]), slot);
      slot += block.head_dim;
    }
    if (kMin) {
      StoreFloats(d, hn::IfThenElse(nan[v], hn::NaN(d), smallest[v]), slot);
      slot += block.head_dim;
    }
    if (kAvg) StoreFloats(d, hn::Div(sum[v], count), slot);
  }
}

template <bool kMax, bool kMin, bool kAvg, class T>
void pool_block(const Block& block, const T* x, T* out) {
  using Wide = hn::ScalableTag<float>;
  using One = hn::CappedTag<float, 1>;
  // With three kinds 24 accumulators of 32 registers, or 12 of 16.
  constexpr int kVectors = HWY_TARGET <= HWY_AVX3 ? 8 : 4;
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(Wide()));
  std::int64_t d = 0;
  for (; d + kVectors * lanes <= block.head_dim; d += kVectors * lanes) {
    pool_columns<Wide, kVectors, kMax, kMin, kAvg>(block, x + d, out + d);
  }
  for (; d + lanes <= block.head_dim; d += lanes) {
    pool_columns<Wide, 1, kMax, kMin, kAvg>(block, x + d, out + d);
  }
  if (d < block.head_dim && block.head_dim >= lanes) {  // the last columns, some of them twice
    d = block.head_dim - lanes;
    pool_columns<Wide, 1, kMax, kMin, kAvg>(block, x + d, out + d);
    return;
  }
  for (; d < block.head_dim; ++d) {
    pool_columns<One, 1, kMax, kMin, kAvg>(block, x + d, out + d);
  }
}

template <class T>
void pool_range(const PoolBlocksParams& params, std::int64_t tile_begin, std::int64_t tile_end) {
  void (*const pool)(const Block&, const T*, T*) =
      params.max ? (params.min ? (params.avg ? &pool_block<true, true, true, T>
                                             : &pool_block<true, true, false, T>)
                               : (params.avg ? &pool_block<true, false, true, T>
                                             : &pool_block<true, false, false, T>))
                 : (params.min ? (params.avg ? &pool_block<false, true, true, T>
                                             : &pool_block<false, true, false, T>)
                               : &pool_block<false, false, true, T>);
  const std::int64_t num_blocks = (params.length + params.block_size - 1) / params.block_size;
  const std::int64_t kinds = params.max + params.min + params.avg;
  // Blocks are taken in the order in which they lie in memory: of a transposed [batch, length,
  // heads, head_dim] tensor first all heads of a block, which share their pages.
  const bool heads_inside = params.x_strides.head < params.x_strides.row;
  for (std::int64_t tile = tile_begin; tile < tile_end; ++tile) {
    const std::int64_t batch = tile / (num_blocks * params.heads);
    const std::int64_t rest = tile % (num_blocks * params.heads);
    const std::int64_t head = heads_inside ? rest % params.heads : rest / num_blocks;
    const std::int64_t number = heads_inside ? rest / params.heads : rest % num_blocks;
    const std::int64_t first = number * params.block_size;
    const std::int64_t left = params.length - first;
    const Block block = {left < params.block_size ? left : params.block_size, params.x_strides.row,
                         params.head_dim};
    pool(block,
         static_cast<const T*>(params.x) + batch * params.x_strides.batch +
             head * params.x_strides.head + first * params.x_strides.row,
         static_cast<T*>(params.out) +
             ((batch * params.heads + head) * num_blocks + number) * kinds * params.head_dim);
  }
}

void pool_blocks_float32(const PoolBlocksParams& params, std::int64_t tile_begin,
                         std::int64_t tile_end) {
  pool_range<float>(params, tile_begin, tile_end);
}

void pool_blocks_bfloat16(const PoolBlocksParams& params, std::int64_t tile_begin,
                          std::int64_t tile_end) {
  pool_range<std::uint16_t>(params, tile_begin, tile_end);
}

}  // namespace HWY_NAMESPACE
}  // namespace seer
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <stdexcept>

#include "kernels/simd/kernel_of.h"

namespace seer {

void pool_blocks_cpu(const PoolBlocksParams& params, CpuIsa isa, std::int64_t tile_begin,
                     std::int64_t tile_end) {
  if (params.element != Element::kFloat32 && params.element != Element::kBFloat16) {
    throw std::invalid_argument("pool_blocks_cpu: expected float32 or bfloat16 elements");
  }
  const auto kernel = params.element == Element::kBFloat16
                          ? SEER_KERNEL_OF(isa, pool_blocks_bfloat16)
                          : SEER_KERNEL_OF(isa, pool_blocks_float32);
  kernel(params, tile_begin, tile_end);
}

}  // namespace seer
#endif  // HWY_ONCE
