#include "ops/select_blocks.h"

#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <cstddef>
#include <mutex>
#include <vector>

#include "kernels/select_blocks/cpu.h"
#include "kernels/select_blocks/reference.h"

namespace seer {
namespace {

at::Tensor select_blocks_cpu_key(const at::Tensor& scores, std::string_view policy,
                                 std::int64_t q_len, std::int64_t kv_len, std::int64_t block_size) {
  const PreparedSelectBlocks prepared =
      prepare_select_blocks(scores, policy, q_len, kv_len, block_size);
  const SelectBlocksParams& params = prepared.params;
  if (prepared.mask.numel() == 0) return prepared.mask;

  BadScore first_bad;
  std::mutex first_bad_mutex;
  const std::int64_t num_rows = params.batch * params.heads * params.num_q_blocks;
  // About 16k blocks a task: enough to pay for waking a thread.
  const std::int64_t grain = std::max<std::int64_t>(1, 16384 / params.num_kv_blocks);
  at::parallel_for(0, num_rows, grain, [&](std::int64_t begin, std::int64_t end) {
    BadScore bad;
    if (params.element == Element::kFloat64) {
      bad = select_blocks_reference(params, begin, end);
    } else {
      std::vector<std::max_align_t> scratch(
          select_blocks_scratch_bytes(params) / sizeof(std::max_align_t) + 1);
      bad = select_blocks_cpu(params, begin, end, scratch.data());
    }
    if (bad.position < 0) return;
    // The lowest position whatever the number of threads, so that an error is the same each time.
    const std::lock_guard lock(first_bad_mutex);
    if (first_bad.position < 0 || bad.position < first_bad.position) first_bad = bad;
  });
  if (first_bad.position >= 0) refuse_bad_score(params, first_bad);
  return prepared.mask;
}

}  // namespace

TORCH_LIBRARY_IMPL(seer, CPU, m) {
  m.impl("select_blocks", &select_blocks_cpu_key);
}

}  // namespace seer
