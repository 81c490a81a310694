// Bound by memory: 16 bytes a load, four summed by one instruction.
#include "kernels/count_blocks/cuda.h"

#include <algorithm>
#include <bit>

#include "base/ceil_div.h"
#include "kernels/device/check.cuh"

namespace seer {
namespace {

constexpr int kThreads = 256;
constexpr int kVectorsAtOnce = 4;
constexpr unsigned kOnes = 0x01010101u;
// A thread sums to 32 bits: a block takes this many bytes at most, and there are as many blocks as the mask needs.
constexpr std::int64_t kBytesOfBlock = std::int64_t{kThreads} * kVectorsAtOnce * 16 * 4;

// Sums of integers: the same in any order.
__global__ void __launch_bounds__(kThreads)
    count_blocks_kernel(const std::uint8_t* mask, std::int64_t size, unsigned long long* count) {
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x) * kBytesOfBlock;
  const std::int64_t end = min(begin + kBytesOfBlock, size);
  const std::int64_t whole_end = end - (end - begin) % 16;
  unsigned sum = 0;
#pragma unroll kVectorsAtOnce
  for (std::int64_t at = begin + 16 * threadIdx.x; at < whole_end; at += 16 * kThreads) {
    const uint4 four = *reinterpret_cast<const uint4*>(mask + at);
    sum = __dp4a(four.x, kOnes, sum);
    sum = __dp4a(four.y, kOnes, sum);
    sum = __dp4a(four.z, kOnes, sum);
    sum = __dp4a(four.w, kOnes, sum);
  }
  if (whole_end + threadIdx.x < end) sum += mask[whole_end + threadIdx.x];
  sum = __reduce_add_sync(0xffffffffu, sum);
  if (threadIdx.x % 32 == 0 && sum > 0) atomicAdd(count, static_cast<unsigned long long>(sum));
}

}  // namespace

void count_blocks_cuda(const std::uint8_t* mask, std::int64_t size, std::int64_t* count,
                       CUstream_st* stream) {
  check_cuda(cudaMemsetAsync(count, 0, sizeof(*count), stream), "cudaMemsetAsync");
  if (size == 0) return;
  static_assert(sizeof(unsigned long long) == sizeof(std::int64_t));
  const std::int64_t blocks = ceil_div(size, kBytesOfBlock);
  count_blocks_kernel<<<static_cast<unsigned>(blocks), kThreads, 0, stream>>>(
      mask, size, reinterpret_cast<unsigned long long*>(count));
  check_launch("count_blocks_kernel");
}

}  // namespace seer
