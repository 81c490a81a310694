#include "gate/representative_angles.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <bit>
#include <mutex>
#include <vector>

namespace seer {
namespace {

// From position 0 on.
struct KeptTable {
  RopeConfig rope;
  std::int64_t width, step;
  c10::Device device;
  RopeTable table;
};

RopeTable make_table(const RopeConfig& rope, std::int64_t width, std::int64_t first_position,
                     std::int64_t count, std::int64_t step, c10::Device device) {
  // Angles are constants: they can take part in training, which tensors of inference mode cannot.
  const c10::InferenceMode normal(false);
  const RopeTable table = rope_table(make_rope(rope, width), first_position, count, step);
  return {.cos = table.cos.to(device), .sin = table.sin.to(device)};
}

RopeTable rows_of(const RopeTable& table, std::int64_t first, std::int64_t count) {
  return {.cos = table.cos.narrow(0, first, count), .sin = table.sin.narrow(0, first, count)};
}

}  // namespace

RopeTable representative_angles(const RopeConfig& rope, std::int64_t width,
                                std::int64_t first_position, std::int64_t count, std::int64_t step,
                                c10::Device device) {
  if (device.is_cpu() || first_position % step != 0)
    return make_table(rope, width, first_position, count, step, device);
  static std::mutex mutex;
  // Never destroyed: at the program's end the GPU's allocator may be gone before them.
  static auto& kept = *new std::vector<KeptTable>;
  const std::int64_t first = first_position / step;
  const std::lock_guard lock(mutex);
  auto found = std::find_if(kept.begin(), kept.end(), [&](const KeptTable& one) {
    return one.width == width && one.step == step && one.device == device && one.rope == rope;
  });
  if (found == kept.end()) {
    kept.push_back({rope, width, step, device, {}});
    found = kept.end() - 1;
  }
  if (!found->table.cos.defined() || found->table.cos.size(0) < first + count) {
    constexpr std::int64_t kLeastRows = 1024;
    const auto rows = static_cast<std::int64_t>(
        std::bit_ceil(static_cast<std::uint64_t>(std::max(first + count, kLeastRows))));
    found->table = make_table(rope, width, 0, rows, step, device);
  }
  return rows_of(found->table, first, count);
}

}  // namespace seer
