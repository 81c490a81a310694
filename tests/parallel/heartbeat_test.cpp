// Processes of a group that meet in one store, all in this one.
#include "parallel/heartbeat.h"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <torch/csrc/distributed/c10d/HashStore.hpp>

namespace seer {
namespace {

using std::chrono::milliseconds;

class HeartbeatTest : public testing::Test {
 protected:
  std::unique_ptr<Heartbeat> process(int rank) {
    return std::make_unique<Heartbeat>(store_, rank, kSize);
  }

  // Until somebody is missed.
  static std::string wait_for_loss(LossWatch& watch) {
    for (;;) {
      if (const std::string lost = watch.look(); !lost.empty()) return lost;
      std::this_thread::sleep_for(milliseconds(10));
    }
  }

  static constexpr int kSize = 5;
  c10::intrusive_ptr<c10d::Store> store_ = c10::make_intrusive<c10d::HashStore>();
};

TEST_F(HeartbeatTest, ThoseWhoEndAreNamed) {
  const auto asks = process(0), runs = process(1);
  process(2).reset();  // killed
  process(3)->tell("the disk is full");
  process(4)->tell("");  // lost another

  const std::string expected =
      "rank 2 is gone: it was killed, crashed, or cannot be reached; "
      "rank 3 ended with an error: the disk is full";
  LossWatch watch(*asks);
  EXPECT_EQ(watch.look(), "");  // it has only begun
  EXPECT_EQ(wait_for_loss(watch), expected);
  EXPECT_EQ(asks->explain_loss(), expected);
}

TEST_F(HeartbeatTest, OneThatEndsLaterIsNamedThen) {
  const auto asks = process(0);
  auto second = process(1);
  const auto third = process(2), fourth = process(3), fifth = process(4);
  LossWatch watch(*asks);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(12);
  while (std::chrono::steady_clock::now() < end) {
    ASSERT_EQ(watch.look(), "");
    std::this_thread::sleep_for(milliseconds(10));
  }
  second.reset();
  EXPECT_EQ(wait_for_loss(watch), "rank 1 is gone: it was killed, crashed, or cannot be reached");
}

}  // namespace
}  // namespace seer
