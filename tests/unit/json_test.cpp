#include "base/json.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <string_view>

#include "base/quote.h"

namespace seer {
namespace {

std::string refusal(std::string_view text, const JsonLimits& limits = {}) {
  try {
    parse_json(text, "x.json", limits);
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "";
}

TEST(Json, PositionsAndReasons) {
  EXPECT_NE(refusal("{\n  \"a\": ]").find("x.json: no valid JSON at line 2, column 8"),
            std::string::npos);
  EXPECT_NE(refusal("{\"a\": 1, \"a\": 2}").find("\"a\" appears twice"), std::string::npos);
  EXPECT_NE(refusal(std::string_view("{}\0{}", 5)).find("zero byte"), std::string::npos);
  EXPECT_NE(refusal("[[[]]]", {.max_bytes = 100, .max_depth = 2}).find("deeper than 2"),
            std::string::npos);
  EXPECT_NE(refusal("[1, 2]", {.max_bytes = 5}).find("limit of 5"), std::string::npos);
  EXPECT_EQ(refusal("{\"a\": {\"a\": [1e3, \"\\u0000\"]}}"), "");
}

TEST(Quote, WhatATerminalMayShow) {
  EXPECT_EQ(quote("plain \xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"),
            "\"plain \xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"");
  EXPECT_EQ(quote("\x1b[2J\n\x7f"), "\"\\x1b[2J\\x0a\\x7f\"");
  EXPECT_EQ(quote("\xff\xc3"), "\"\\xff\\xc3\"");  // not UTF-8; cut short
  EXPECT_EQ(quote("\xc2\x9b"), "\"\\xc2\\x9b\"");  // a C1 control character
  EXPECT_EQ(printable(std::string(500, 'a'), 3), "aaa... (500 bytes)");
}

}  // namespace
}  // namespace seer
