#include "ops/cpu/tiles.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <c10/core/alignment.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <atomic>
#include <stdexcept>

#include "base/ceil_div.h"

namespace seer {
namespace {

constexpr std::size_t kScratchAlignment = 64;  // bytes
static_assert(c10::gAlignment >= kScratchAlignment, "at::empty must align the kernels' scratch");

}  // namespace

CpuIsa checked_cpu_isa() {
  try {
    return cpu_isa();
  } catch (const std::invalid_argument& error) {
    TORCH_CHECK(false, error.what());
  }
}

void for_each_tile(std::int64_t num_tiles, std::size_t scratch_bytes,
                   const std::function<void(std::int64_t tile, void* scratch)>& compute) {
  const std::int64_t num_workers = std::min<std::int64_t>(at::get_num_threads(), num_tiles);
  // Rounded up, so that every worker's part starts aligned.
  const std::size_t bytes_per_worker =
      ceil_div(scratch_bytes, kScratchAlignment) * kScratchAlignment;
  const at::Tensor scratch =
      at::empty({num_workers * static_cast<std::int64_t>(bytes_per_worker)}, at::kByte);
  auto* const first_scratch = scratch.mutable_data_ptr<std::uint8_t>();
  std::atomic<std::int64_t> next_tile = 0;
  at::parallel_for(0, num_workers, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t worker = begin; worker < end; ++worker) {
      for (;;) {
        const std::int64_t tile = next_tile.fetch_add(1, std::memory_order_relaxed);
        if (tile >= num_tiles) break;
        compute(tile, first_scratch + worker * static_cast<std::int64_t>(bytes_per_worker));
      }
    }
  });
}

}  // namespace seer
