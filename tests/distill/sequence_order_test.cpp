// Lengths of training sequences: their text, their order, and which sequence of a length is which.
#include "distill/sequence_order.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

namespace seer {
namespace {

DistillOptions options_of(const std::string& text, std::uint64_t seed = 0) {
  DistillOptions options;
  options.seed = seed;
  parse_lengths(text, options);
  return options;
}

TEST(SequenceLengths, AreReadAndPrinted) {
  for (const char* text : {"8192", "8192:126,16384:14,32768:7", "300:1"})
    EXPECT_EQ(lengths_text(options_of(text)), text);
  EXPECT_EQ(options_of("512").longest_sequence(), 512);
  EXPECT_EQ(options_of("512:3,2048:1,1024:2").longest_sequence(), 2048);
  for (const char* text : {"", "x", "8192:", ":3", "8192:1,", "8192:1,300", "8192:1:2", "8192 "}) {
    try {
      options_of(text);
      ADD_FAILURE() << text;
    } catch (const std::invalid_argument& error) {
      EXPECT_NE(std::string(error.what()).find("8192:126,16384:14"), std::string::npos) << text;
    }
  }
  for (const char* text : {"1", "512:0", "512:2,512:3", "1:5"})
    EXPECT_THROW(options_of(text).check(), std::invalid_argument) << text;
}

TEST(SequenceOrder, CountsOneLengthThrough) {
  const SequenceOrder order(options_of("256"));
  for (std::int64_t i : {0, 1, 77}) {
    EXPECT_EQ(order.at(i), (SequencePlace{.length = 256, .index = i}));
  }
  EXPECT_EQ(order.tokens(10), 2560);
}

TEST(SequenceOrder, GivesEachRoundWhatWasAskedInAnOrderOfItsOwn) {
  const SequenceOrder order(options_of("256:6,512:3,1024:1"));
  std::map<std::int64_t, std::set<std::int64_t>> seen;  // indices by length
  std::vector<std::vector<std::int64_t>> rounds(3);
  for (std::int64_t i = 0; i < 30; ++i) {
    const SequencePlace place = order.at(i);
    EXPECT_TRUE(seen[place.length].insert(place.index).second) << i;
    rounds[static_cast<std::size_t>(i / 10)].push_back(place.length);
    if (i % 10 != 9) continue;
    // All indices up to here, without a gap: each length is a sequence of its own.
    const std::int64_t count = i / 10 + 1;
    EXPECT_EQ(seen[256].size(), 6u * count);
    EXPECT_EQ(*seen[256].rbegin(), 6 * count - 1);
    EXPECT_EQ(*seen[512].rbegin(), 3 * count - 1);
    EXPECT_EQ(*seen[1024].rbegin(), count - 1);
  }
  EXPECT_NE(rounds[0], rounds[1]);
  EXPECT_EQ(order.tokens(10), 6 * 256 + 3 * 512 + 1024);
  EXPECT_EQ(order.tokens(11) - order.tokens(10), rounds[1].front());
  EXPECT_EQ(order.lengths(20), SequenceOrder(options_of("256:6,512:3,1024:1")).lengths(20));
  EXPECT_NE(order.lengths(20), SequenceOrder(options_of("256:6,512:3,1024:1", 5)).lengths(20));
}

}  // namespace
}  // namespace seer
