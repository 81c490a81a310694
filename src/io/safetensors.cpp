#include "io/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <utility>

#include "base/quote.h"

namespace seer {
namespace {

using Json = nlohmann::json;

constexpr std::uint64_t kLengthBytes = 8;
constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;
constexpr std::string_view kMetadataKey = "__metadata__";

struct Dtype {
  std::string_view name;
  int bits;
};

constexpr std::array kDtypes = {
    Dtype{"BOOL", 8},    Dtype{"F4", 4},   Dtype{"F6_E2M3", 6},     Dtype{"F6_E3M2", 6},
    Dtype{"U8", 8},      Dtype{"I8", 8},   Dtype{"F8_E5M2", 8},     Dtype{"F8_E4M3", 8},
    Dtype{"F8_E8M0", 8}, Dtype{"I16", 16}, Dtype{"F8_E4M3FNUZ", 8}, Dtype{"F8_E5M2FNUZ", 8},
    Dtype{"U16", 16},    Dtype{"F16", 16}, Dtype{"BF16", 16},       Dtype{"I32", 32},
    Dtype{"U32", 32},    Dtype{"F32", 32}, Dtype{"C64", 64},        Dtype{"F64", 64},
    Dtype{"I64", 64},    Dtype{"U64", 64},
};

std::string dtype_names() {
  std::string names;
  for (const Dtype& dtype : kDtypes) names += (names.empty() ? "" : ", ") + std::string(dtype.name);
  return names;
}

// Takes the parser's events one by one, so that nothing is kept but what a header may hold.
class HeaderReader : public nlohmann::json_sax<Json> {
 public:
  explicit HeaderReader(const std::string& source) : source_(source) {}

  SafetensorsHeader take() { return std::move(header_); }

  bool null() override { unexpected("null"); }
  bool boolean(bool value) override { unexpected(value ? "true" : "false"); }
  bool number_integer(number_integer_t value) override { unexpected(std::to_string(value)); }
  bool number_float(number_float_t, const std::string& text) override {
    unexpected(printable(text, 40));
  }
  bool binary(binary_t&) override { unexpected("binary data"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (state_ != State::kShape && state_ != State::kOffsets) unexpected(std::to_string(value));
    (state_ == State::kShape ? shape_ : offsets_)->push_back(value);
    return true;
  }

  bool string(std::string& value) override {
    if (state_ == State::kMetadata) {
      header_.metadata[field_] = std::move(value);
    } else if (state_ == State::kTensor && field_ == "dtype") {
      dtype_ = std::move(value);
    } else {
      unexpected("the string " + quote(value));
    }
    return true;
  }

  bool start_object(std::size_t) override {
    if (state_ == State::kStart) {
      state_ = State::kTop;
    } else if (state_ == State::kTop) {
      state_ = name_ == kMetadataKey ? State::kMetadata : State::kTensor;
      dtype_.reset();
      shape_.reset();
      offsets_.reset();
      field_.clear();
    } else {
      unexpected("an object");
    }
    return true;
  }

  bool key(std::string& key) override {
    if (state_ == State::kTop) {
      if (key == kMetadataKey ? std::exchange(has_metadata_, true)
                              : header_.tensors.contains(key)) {
        fail("the key " + quote(key) + " appears twice");
      }
      name_ = std::move(key);
      return true;
    }
    if (state_ == State::kMetadata) {
      if (header_.metadata.contains(key))
        fail("__metadata__: the key " + quote(key) + " appears twice");
    } else if (key == "dtype"   ? dtype_.has_value()
               : key == "shape" ? shape_.has_value()
                                : key == "data_offsets" && offsets_.has_value()) {
      fail("the field " + quote(key) + " appears twice");
    } else if (key != "dtype" && key != "shape" && key != "data_offsets") {
      fail("unknown field " + quote(key) + " (a tensor has dtype, shape and data_offsets)");
    }
    field_ = std::move(key);
    return true;
  }

  bool end_object() override {
    if (state_ == State::kTensor) finish_tensor();
    state_ = state_ == State::kTop ? State::kEnd : State::kTop;
    return true;
  }

  bool start_array(std::size_t) override {
    if (state_ == State::kTensor && field_ == "shape") {
      state_ = State::kShape;
      shape_.emplace();
    } else if (state_ == State::kTensor && field_ == "data_offsets") {
      state_ = State::kOffsets;
      offsets_.emplace();
    } else {
      unexpected("an array");
    }
    return true;
  }

  bool end_array() override {
    state_ = State::kTensor;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception& error) override {
    // what() is "[json.exception.parse_error.101] parse error at ...: <reason>"
    const std::string_view what = error.what();
    const std::size_t reason = what.find(": ");
    throw std::runtime_error(source_ + ": header: no valid JSON at byte " +
                             std::to_string(position) + ": " +
                             printable(reason == what.npos ? what : what.substr(reason + 2), 300));
  }

 private:
  enum class State { kStart, kTop, kTensor, kShape, kOffsets, kMetadata, kEnd };

  // Where the reader stands: the tensor in question, once there is one.
  [[noreturn]] void fail(const std::string& what) const {
    const bool in_tensor =
        state_ == State::kTensor || state_ == State::kShape || state_ == State::kOffsets;
    throw std::runtime_error(source_ + ": " + (in_tensor ? "tensor " + quote(name_) : "header") +
                             ": " + what);
  }

  [[noreturn]] void unexpected(const std::string& got) const {
    switch (state_) {
      case State::kTop: fail(quote(name_) + ": expected an object, got " + got);
      case State::kMetadata:
        fail("__metadata__: " + quote(field_) + ": expected a string, got " + got);
      case State::kShape: fail("shape: expected integers from 0 below 2^64, got " + got);
      case State::kOffsets: fail("data_offsets: expected integers from 0 below 2^64, got " + got);
      case State::kTensor:
        fail(field_ + ": expected " + (field_ == "dtype" ? "a string" : "an array") + ", got " +
             got);
      default: fail("expected an object, got " + got);
    }
  }

  void finish_tensor() {
    for (const auto& [present, field] : {std::pair(dtype_.has_value(), "dtype"),
                                         {shape_.has_value(), "shape"},
                                         {offsets_.has_value(), "data_offsets"}}) {
      if (!present) fail(std::string("has no ") + field);
    }
    if (safetensors_dtype_bits(*dtype_) == 0) {
      fail("dtype: unknown type " + quote(*dtype_) + " (the format has " + dtype_names() + ")");
    }
    if (offsets_->size() != 2) {
      fail("data_offsets: expected 2 integers, got " + std::to_string(offsets_->size()));
    }
    SafetensorsEntry entry;
    for (const std::uint64_t size : *shape_) {
      if (size > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
        fail("shape: the size " + std::to_string(size) + " is too large");
      }
      entry.shape.push_back(static_cast<std::int64_t>(size));
    }
    entry.dtype = std::move(*dtype_);
    entry.begin = (*offsets_)[0];
    entry.end = (*offsets_)[1];
    header_.tensors.emplace(std::move(name_), std::move(entry));
  }

  const std::string& source_;
  SafetensorsHeader header_;
  State state_ = State::kStart;
  bool has_metadata_ = false;
  std::string name_;   // of the tensor being read, or __metadata__
  std::string field_;  // of the tensor, or a key of the metadata
  std::optional<std::string> dtype_;
  std::optional<std::vector<std::uint64_t>> shape_, offsets_;
};

// Bytes that a tensor of this type and shape takes. Throws where they are no whole number or overflow, also where
// only the sizes other than 0 do: strides are made of them.
std::uint64_t byte_count(const SafetensorsEntry& entry, const std::string& where) {
  const auto bits = static_cast<std::uint64_t>(safetensors_dtype_bits(entry.dtype));
  std::uint64_t total = bits;
  bool empty = false;
  for (const std::int64_t size : entry.shape) {
    if (size == 0) {
      empty = true;
    } else if (__builtin_mul_overflow(total, static_cast<std::uint64_t>(size), &total) ||
               total > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
      throw std::runtime_error(where + "shape: the number of its bits overflows 64 bits");
    }
  }
  if (empty) return 0;
  if (total % 8 != 0) {
    throw std::runtime_error(where + "shape: " + std::to_string(total) + " bits of " + entry.dtype +
                             " are no whole number of bytes");
  }
  return total / 8;
}

// Checks that the tensors' data lie one behind the other and fill `data_bytes`, and moves their offsets from the
// start of the data to the start of the file.
void place_tensors(SafetensorsHeader& header, std::uint64_t data_begin, std::uint64_t data_bytes,
                   const std::string& source) {
  std::vector<std::pair<std::string_view, SafetensorsEntry*>> by_offset;
  by_offset.reserve(header.tensors.size());
  for (auto& [name, entry] : header.tensors) by_offset.emplace_back(name, &entry);
  std::stable_sort(by_offset.begin(), by_offset.end(), [](const auto& a, const auto& b) {
    return std::pair(a.second->begin, a.second->end) < std::pair(b.second->begin, b.second->end);
  });
  std::uint64_t expected = 0;
  for (auto& [name, entry] : by_offset) {
    const std::string where = source + ": tensor " + quote(name) + ": ";
    const std::string offsets =
        "data_offsets [" + std::to_string(entry->begin) + ", " + std::to_string(entry->end) + "]: ";
    if (entry->begin > entry->end)
      throw std::runtime_error(where + offsets + "the end lies before the begin");
    if (entry->end > data_bytes) {
      throw std::runtime_error(where + offsets + "the file has only " + std::to_string(data_bytes) +
                               " bytes of data (is it truncated? Download it again)");
    }
    if (entry->begin != expected) {
      throw std::runtime_error(where + offsets +
                               (entry->begin < expected
                                    ? "overlaps another tensor, whose data end"
                                    : "leaves a hole behind the data that end") +
                               " at " + std::to_string(expected));
    }
    const std::uint64_t bytes = byte_count(*entry, where);
    if (bytes != entry->end - entry->begin) {
      throw std::runtime_error(where + offsets + "dtype " + entry->dtype + " and shape take " +
                               std::to_string(bytes) + " bytes, not " +
                               std::to_string(entry->end - entry->begin));
    }
    expected = entry->end;
    entry->begin += data_begin;
    entry->end += data_begin;
  }
  if (expected != data_bytes) {
    throw std::runtime_error(source + ": the tensors' data end at " + std::to_string(expected) +
                             " of " + std::to_string(data_bytes) +
                             " bytes: the rest belongs to no tensor");
  }
}

}  // namespace

int safetensors_dtype_bits(std::string_view dtype) {
  const auto* found = std::find_if(kDtypes.begin(), kDtypes.end(),
                                   [&](const Dtype& known) { return known.name == dtype; });
  return found == kDtypes.end() ? 0 : found->bits;
}

SafetensorsHeader parse_safetensors_header(std::span<const std::byte> file,
                                           const std::string& source) {
  static_assert(std::endian::native == std::endian::little,
                "the format is little-endian, and so are its numbers here");
  if (file.size() < kLengthBytes) {
    throw std::runtime_error(source + ": no safetensors file: " + std::to_string(file.size()) +
                             " bytes, at least 8 expected (is it truncated? Download it again)");
  }
  std::uint64_t length = 0;
  std::memcpy(&length, file.data(), kLengthBytes);
  const std::uint64_t rest = file.size() - kLengthBytes;
  const std::string stated =
      ": header: its stated length is " + std::to_string(length) + " bytes, ";
  if (length > kMaxHeaderBytes) {
    throw std::runtime_error(source + stated + "more than the format's limit of " +
                             std::to_string(kMaxHeaderBytes) + " (is this a safetensors file?)");
  }
  if (length > rest) {
    throw std::runtime_error(source + stated + "but only " + std::to_string(rest) +
                             " follow (is the file truncated? Download it again)");
  }
  const std::string_view text(reinterpret_cast<const char*>(file.data()) + kLengthBytes, length);
  if (!text.starts_with('{'))
    throw std::runtime_error(source + ": header: does not begin with '{'");
  // The parser takes a zero byte outside of strings for the end of the text.
  if (text.find('\0') != text.npos)
    throw std::runtime_error(source + ": header: holds a zero byte");
  HeaderReader reader(source);
  Json::sax_parse(text, &reader);
  SafetensorsHeader header = reader.take();
  place_tensors(header, kLengthBytes + length, rest - length, source);
  return header;
}

}  // namespace seer
