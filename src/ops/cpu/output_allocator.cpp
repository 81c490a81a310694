#include "ops/cpu/output_allocator.h"

#include <c10/core/CPUAllocator.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <string_view>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace seer {
namespace {

constexpr std::size_t kLarge = std::size_t{4} << 20;
constexpr std::size_t kHugePage = std::size_t{2} << 20;

struct Block {
  void* data;
  std::size_t bytes;
};

class OutputAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) override {
    if (bytes < kLarge) return c10::GetCPUAllocator()->allocate(bytes);
    auto block = std::make_unique<Block>(take(bytes));
    void* const data = block->data;
    return {data, block.release(), &OutputAllocator::release, c10::Device(c10::DeviceType::CPU)};
  }

  c10::DeleterFnPtr raw_deleter() const override { return nullptr; }  // data is not the context

  void copy_data(void* to, const void* from, std::size_t bytes) const override {
    std::memcpy(to, from, bytes);
  }

  std::size_t idle_bytes() {
    const std::lock_guard lock(mutex_);
    return idle_bytes_;
  }

 private:
  // A kept block that is at most a quarter too large, or a new one.
  Block take(std::size_t bytes) {
    {
      const std::lock_guard lock(mutex_);
      const auto fits = [bytes](const Block& block) {
        return block.bytes >= bytes && block.bytes - bytes <= bytes / 4;
      };
      const auto found = std::find_if(idle_.begin(), idle_.end(), fits);
      if (found != idle_.end()) {
        const Block block = *found;
        idle_.erase(found);
        idle_bytes_ -= block.bytes;
        return block;
      }
    }
    const std::size_t rounded = (bytes + kHugePage - 1) / kHugePage * kHugePage;
    void* const data = std::aligned_alloc(kHugePage, rounded);
    TORCH_CHECK(data != nullptr, "an output of ", bytes, " bytes does not fit into memory");
#if defined(__linux__)
    madvise(data, rounded, MADV_HUGEPAGE);  // a hint: without huge pages nothing but speed is lost
#endif
    return {data, rounded};
  }

  static void release(void* context);

  void keep_or_free(const Block& block) {
    const std::size_t limit = output_cache_bytes();
    std::vector<Block> dropped;
    {
      const std::lock_guard lock(mutex_);
      if (block.bytes > limit) {
        dropped.push_back(block);
      } else {
        idle_.push_back(block);
        idle_bytes_ += block.bytes;
      }
      // The oldest blocks make room: sizes that are no longer asked for disappear.
      while (idle_bytes_ > limit) {
        dropped.push_back(idle_.front());
        idle_bytes_ -= idle_.front().bytes;
        idle_.erase(idle_.begin());
      }
    }
    for (const Block& old : dropped) std::free(old.data);
  }

  std::mutex mutex_;
  std::vector<Block> idle_;  // oldest first
  std::size_t idle_bytes_ = 0;
};

// Never destroyed: tensors may outlive every static object.
OutputAllocator& instance() {
  static auto* const allocator = new OutputAllocator;
  return *allocator;
}

void OutputAllocator::release(void* context) {
  const std::unique_ptr<Block> block(static_cast<Block*>(context));
  instance().keep_or_free(*block);
}

}  // namespace

std::size_t output_cache_bytes() {
  constexpr std::size_t kDefaultMegabytes = 256;
  std::size_t megabytes = kDefaultMegabytes;
  if (const char* asked = std::getenv("SEER_OUTPUT_CACHE_MB")) {
    const std::string_view text(asked);
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), megabytes);
    if (error != std::errc() || end != text.data() + text.size() ||
        megabytes > (std::size_t{1} << 40)) {
      megabytes = kDefaultMegabytes;
    }
  }
  return megabytes << 20;
}

c10::Allocator* output_allocator() {
  return &instance();
}

std::size_t idle_output_bytes() {
  return instance().idle_bytes();
}

}  // namespace seer
