#pragma once

#include <cstdint>

struct CUstream_st;  // what cudaStream_t points to

namespace seer {

// Writes to *count how many of the `size` bytes of a block mask, each 0 or 1 at `mask` on the device, are 1: asynchronously
// on the stream. Throws std::runtime_error where a launch fails.
void count_blocks_cuda(const std::uint8_t* mask, std::int64_t size, std::int64_t* count,
                       CUstream_st* stream);

}  // namespace seer
