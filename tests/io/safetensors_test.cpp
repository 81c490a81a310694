// What the header reader gives for good files, and the messages for bad ones; fuzz/corpus/safetensors has many more.
#include "io/safetensors.h"

#include <gtest/gtest.h>

#include <span>
#include <stdexcept>
#include <string>

#include "support/model_files.h"

namespace seer {
namespace {

SafetensorsHeader parse(const std::string& file) {
  return parse_safetensors_header(std::as_bytes(std::span(file)), "x.safetensors");
}

std::string refusal(const std::string& file) {
  return test::runtime_error_of([&] { parse(file); });
}

std::string with_header(const std::string& header, std::size_t data_bytes) {
  std::string file(8, '\0');
  file[0] = static_cast<char>(header.size());
  return file + header + std::string(data_bytes, '\0');
}

TEST(Safetensors, OffsetsAreFromTheStartOfTheFile) {
  const std::string file = test::safetensors_file({{"b", "F32", {2, 1}, std::string(8, 'b')},
                                                   {"a", "U8", {3}, "aaa"},
                                                   {"scalar", "F16", {}, "ss"},
                                                   {"empty", "I64", {0, 7}, ""}});
  const SafetensorsHeader header = parse(file);
  ASSERT_EQ(header.tensors.size(), 4u);
  const SafetensorsEntry& a = header.tensors.at("a");
  EXPECT_EQ(a.dtype, "U8");
  EXPECT_EQ(file.substr(a.begin, a.end - a.begin), "aaa");
  EXPECT_EQ(header.tensors.at("b").shape, (std::vector<std::int64_t>{2, 1}));
  EXPECT_TRUE(header.tensors.at("scalar").shape.empty());
  EXPECT_EQ(header.tensors.at("empty").begin, header.tensors.at("empty").end);
}

TEST(Safetensors, Metadata) {
  const SafetensorsHeader header =
      parse(with_header(R"({"__metadata__":{"format":"pt","":"empty key"}})", 0));
  EXPECT_EQ(header.metadata.at("format"), "pt");
  EXPECT_EQ(header.metadata.at(""), "empty key");
  EXPECT_TRUE(header.tensors.empty());
}

struct DtypeCase {
  const char* dtype;
  int bits;
};

class EveryDtype : public testing::TestWithParam<DtypeCase> {};

TEST_P(EveryDtype, IsRecognised) {
  const auto [dtype, bits] = GetParam();
  EXPECT_EQ(safetensors_dtype_bits(dtype), bits);
  // 24 elements are a whole number of bytes for all of them.
  const std::string bytes(static_cast<std::size_t>(24 * bits / 8), '\0');
  EXPECT_EQ(parse(test::safetensors_file({{"t", dtype, {4, 6}, bytes}})).tensors.at("t").dtype,
            dtype);
  EXPECT_NE(refusal(test::safetensors_file({{"t", dtype, {4, 6}, bytes + "x"}})), "");
}

INSTANTIATE_TEST_SUITE_P(
    All, EveryDtype,
    testing::Values(DtypeCase{"BOOL", 8}, DtypeCase{"F4", 4}, DtypeCase{"F6_E2M3", 6},
                    DtypeCase{"F6_E3M2", 6}, DtypeCase{"U8", 8}, DtypeCase{"I8", 8},
                    DtypeCase{"F8_E5M2", 8}, DtypeCase{"F8_E4M3", 8}, DtypeCase{"F8_E8M0", 8},
                    DtypeCase{"F8_E4M3FNUZ", 8}, DtypeCase{"F8_E5M2FNUZ", 8}, DtypeCase{"I16", 16},
                    DtypeCase{"U16", 16}, DtypeCase{"F16", 16}, DtypeCase{"BF16", 16},
                    DtypeCase{"I32", 32}, DtypeCase{"U32", 32}, DtypeCase{"F32", 32},
                    DtypeCase{"C64", 64}, DtypeCase{"F64", 64}, DtypeCase{"I64", 64},
                    DtypeCase{"U64", 64}),
    [](const auto& test) { return std::string(test.param.dtype); });

TEST(Safetensors, MessagesNameFileTensorAndField) {
  const std::string dtype =
      refusal(with_header(R"({"w":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}})", 4));
  for (const char* word : {"x.safetensors", "tensor \"w\"", "dtype", "\"F33\"", "BF16"}) {
    EXPECT_NE(dtype.find(word), dtype.npos) << dtype;
  }
  const std::string truncated =
      refusal(with_header(R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 3));
  for (const char* word : {"tensor \"w\"", "data_offsets [0, 4]", "3 bytes", "truncated"}) {
    EXPECT_NE(truncated.find(word), truncated.npos) << truncated;
  }
}

// Every file cut short is refused, wherever it is cut.
TEST(Safetensors, EveryPrefixIsRefused) {
  const std::string file =
      test::safetensors_file({{"a", "F32", {2}, std::string(8, 'a')}, {"b", "U8", {1}, "b"}});
  EXPECT_EQ(refusal(file), "");
  for (std::size_t length = 0; length < file.size(); ++length)
    EXPECT_NE(refusal(file.substr(0, length)), "") << length;
}

// No single changed byte of header or length leads anywhere but to a message or to offsets within the file.
TEST(Safetensors, EveryChangedByteEndsInAMessageOrStaysInBounds) {
  const std::string file =
      test::safetensors_file({{"a", "F32", {2}, std::string(8, 'a')}, {"b", "U8", {1}, "b"}});
  for (std::size_t i = 0; i + 9 < file.size(); ++i) {
    for (int value = 0; value < 256; ++value) {
      std::string changed = file;
      changed[i] = static_cast<char>(value);
      try {
        for (const auto& [name, entry] : parse(changed).tensors) {
          EXPECT_LE(entry.begin, entry.end);
          EXPECT_LE(entry.end, changed.size());
        }
      } catch (const std::runtime_error&) {
      }
    }
  }
}

}  // namespace
}  // namespace seer
