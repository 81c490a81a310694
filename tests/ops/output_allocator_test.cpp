#include "ops/cpu/output_allocator.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <thread>
#include <vector>

namespace seer {
namespace {

constexpr std::size_t kMegabyte = std::size_t{1} << 20;

// Each test starts and ends with nothing kept: with a limit of 0 the next freed block empties the cache.
class OutputAllocatorTest : public testing::Test {
 protected:
  void SetUp() override { empty(); }
  void TearDown() override { empty(); }

  static void set_limit(const char* megabytes) { setenv("SEER_OUTPUT_CACHE_MB", megabytes, 1); }
  static c10::DataPtr allocate(std::size_t megabytes) {
    return output_allocator()->allocate(megabytes * kMegabyte);
  }

 private:
  static void empty() {
    set_limit("0");
    allocate(64).clear();
    ASSERT_EQ(idle_output_bytes(), 0u);
    unsetenv("SEER_OUTPUT_CACHE_MB");
  }
};

TEST_F(OutputAllocatorTest, ReusesAFreedLargeBlock) {
  void* first = nullptr;
  {
    const c10::DataPtr data = allocate(64);
    first = data.get();
  }
  EXPECT_EQ(idle_output_bytes(), 64 * kMegabyte);
  const c10::DataPtr again = allocate(60);
  EXPECT_EQ(again.get(), first);
  EXPECT_EQ(idle_output_bytes(), 0u);
}

TEST_F(OutputAllocatorTest, DoesNotHandOutABlockThatIsFarTooLarge) {
  allocate(64).clear();
  const c10::DataPtr smaller = allocate(40);
  EXPECT_EQ(idle_output_bytes(), 64 * kMegabyte);
}

TEST_F(OutputAllocatorTest, KeepsNoMoreThanTheLimit) {
  set_limit("100");
  std::vector<c10::DataPtr> blocks;
  for (int i = 0; i < 4; ++i) blocks.push_back(allocate(40));
  blocks.clear();
  EXPECT_LE(idle_output_bytes(), 100 * kMegabyte);
  EXPECT_GT(idle_output_bytes(), 0u);
  allocate(120).clear();
  EXPECT_LE(idle_output_bytes(), 100 * kMegabyte);
}

TEST_F(OutputAllocatorTest, KeepsNothingWithLimitZero) {
  set_limit("0");
  allocate(64).clear();
  EXPECT_EQ(idle_output_bytes(), 0u);
}

TEST_F(OutputAllocatorTest, ALimitThatIsNoNumberCountsAsUnset) {
  const std::size_t unset = output_cache_bytes();
  for (const char* text : {"", "many", "-1", "12x", "99999999999999999999999"}) {
    set_limit(text);
    EXPECT_EQ(output_cache_bytes(), unset) << text;
  }
}

TEST_F(OutputAllocatorTest, LiveBlocksNeverOverlapAcrossThreads) {
  std::vector<std::thread> threads;
  std::atomic<int> overwritten = 0;
  for (int id = 1; id <= 4; ++id) {
    threads.emplace_back([id, &overwritten] {
      for (int round = 0; round < 20; ++round) {
        const c10::DataPtr data = allocate(4 + (id + round) % 3);
        auto* bytes = static_cast<volatile std::uint8_t*>(data.get());
        for (std::size_t i = 0; i < 4 * kMegabyte; i += 4096)
          bytes[i] = static_cast<std::uint8_t>(id);
        std::this_thread::yield();
        for (std::size_t i = 0; i < 4 * kMegabyte; i += 4096) overwritten += bytes[i] != id;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(overwritten, 0);
}

}  // namespace
}  // namespace seer
