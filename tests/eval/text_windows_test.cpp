// Windows of text, and the time that is left.
#include "eval/text_windows.h"

#include <gtest/gtest.h>

#include <chrono>
#include <numeric>
#include <stdexcept>

#include "eval/time_left.h"

namespace seer {
namespace {

TokenStream counting_stream(std::int32_t size) {
  TokenStream stream;
  stream.tokens.resize(static_cast<std::size_t>(size));
  std::iota(stream.tokens.begin(), stream.tokens.end(), 100);
  return stream;
}

TEST(TextWindows, BeginWhereTheProtocolSays) {
  const TokenStream stream = counting_stream(30);
  // floor((30 - 5 - 1) / 7) = 3
  EXPECT_EQ(text_window(stream, 0, 5, 7, 0), (std::vector<TokenId>{0, 100, 101, 102, 103}));
  EXPECT_EQ(text_window(stream, 0, 5, 7, 1), (std::vector<TokenId>{0, 103, 104, 105, 106}));
  EXPECT_EQ(text_window(stream, 0, 5, 7, 6), (std::vector<TokenId>{0, 118, 119, 120, 121}));
}

TEST(TextWindows, ShortestText) {
  const TokenStream stream = counting_stream(6);
  for (std::int64_t index = 0; index < 8; ++index) {
    EXPECT_EQ(text_window(stream, 7, 5, 8, index), (std::vector<TokenId>{7, 100, 101, 102, 103}));
  }
}

TEST(TextWindows, TextThatIsTooShort) {
  try {
    text_window(counting_stream(5), 0, 5, 8, 0);
    FAIL() << "expected an error";
  } catch (const std::invalid_argument& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("5 tokens are fewer than the 6"), std::string::npos) << message;
    EXPECT_NE(message.find("smaller context"), std::string::npos) << message;
  }
}

TEST(TimeLeft, KnowsWhatAContextAndPolicyTake) {
  TimeLeft left;
  EXPECT_EQ(left.seconds(), 0);
  for (int i = 0; i < 3; ++i) left.add(1000, 0);
  left.add(1000, 1);
  left.add(4000, 0);
  EXPECT_EQ(left.seconds(), 0);
  left.finish(1000, 0, std::chrono::seconds(2));
  // Two more of the kind that takes 2 s, another policy guessed at 2 s, and four times as many tokens.
  EXPECT_DOUBLE_EQ(left.seconds(), 2 * 2 + 2 + 8);
  left.finish(1000, 1, std::chrono::seconds(1));
  EXPECT_DOUBLE_EQ(left.seconds(), 2 * 2 + 4000 * 3.0 / 2000);
}

}  // namespace
}  // namespace seer
