#include "base/json.h"

#include <algorithm>
#include <fstream>
#include <set>
#include <stdexcept>
#include <system_error>
#include <vector>

#include "base/quote.h"

namespace seer {
namespace {

[[noreturn]] void fail(const std::string& source, const std::string& what) {
  throw std::runtime_error(source + ": " + what);
}

// "line 3, column 14" of a byte offset.
std::string position(std::string_view text, std::size_t offset) {
  offset = std::min(offset, text.size());
  std::size_t line = 1;
  std::size_t line_start = 0;
  for (std::size_t i = 0; i < offset; ++i) {
    if (text[i] == '\n') {
      ++line;
      line_start = i + 1;
    }
  }
  return "line " + std::to_string(line) + ", column " + std::to_string(offset - line_start + 1);
}

// Watches the parse events: nlohmann's parser is recursive neither in depth nor in keys, but its values are, and it
// keeps the last of two equal keys in silence: an object with fewer members than keys had some twice. Counting them
// takes no time, where a set of the keys took half of a tokenizer's.
class Guard {
 public:
  Guard(const std::string& source, int max_depth) : source_(source), max_depth_(max_depth) {}

  bool operator()(int depth, Json::parse_event_t event, Json& parsed) {
    switch (event) {
      case Json::parse_event_t::object_start:
      case Json::parse_event_t::array_start:
        if (depth >= max_depth_) {
          fail(source_, "nested deeper than " + std::to_string(max_depth_) + " levels");
        }
        if (event == Json::parse_event_t::object_start) keys_.push_back(0);
        break;
      case Json::parse_event_t::object_end:
        if (parsed.size() != keys_.back()) has_duplicate_ = true;
        keys_.pop_back();
        break;
      case Json::parse_event_t::key: ++keys_.back(); break;
      default: break;
    }
    return true;
  }

  bool has_duplicate() const { return has_duplicate_; }

 private:
  const std::string& source_;
  int max_depth_;
  std::vector<std::size_t> keys_;  // of each object that is open
  bool has_duplicate_ = false;
};

// The first key of a valid text that its object has already.
std::string duplicate_key(std::string_view text) {
  std::vector<std::set<std::string>> keys;
  std::string found;
  bool has_found = false;
  const Json ignored = Json::parse(text, [&](int, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key && !has_found) {
      const auto& key = parsed.get_ref<const std::string&>();
      has_found = !keys.back().insert(key).second;
      if (has_found) found = key;
    }
    return true;
  });
  return found;
}

}  // namespace

Json parse_json(std::string_view text, const std::string& source, const JsonLimits& limits) {
  if (text.size() > limits.max_bytes) {
    fail(source, std::to_string(text.size()) + " bytes of JSON, more than the limit of " +
                     std::to_string(limits.max_bytes));
  }
  // The parser takes a zero byte outside of strings for the end of the text.
  if (const std::size_t zero = text.find('\0'); zero != text.npos) {
    fail(source, "no valid JSON at " + position(text, zero) + ": a zero byte");
  }
  Guard guard(source, limits.max_depth);
  try {
    Json parsed = Json::parse(text, [&guard](int depth, Json::parse_event_t event, Json& value) {
      return guard(depth, event, value);
    });
    if (!guard.has_duplicate()) return parsed;
  } catch (const Json::parse_error& error) {
    const std::size_t offset = error.byte > 0 ? error.byte - 1 : 0;
    // what() is "[json.exception.parse_error.101] parse error at ...: <reason>"
    const std::string_view what = error.what();
    const std::size_t reason = what.find(": ");
    fail(source, "no valid JSON at " + position(text, offset) + ": " +
                     printable(reason == what.npos ? what : what.substr(reason + 2), 300));
  } catch (const Json::exception& error) {
    // what() is "[json.exception.out_of_range.406] <reason>"
    const std::string_view what = error.what();
    const std::size_t reason = what.find("] ");
    fail(source,
         "no valid JSON: " + printable(reason == what.npos ? what : what.substr(reason + 2), 300));
  }
  fail(source, "the key " + quote(duplicate_key(text)) + " appears twice");
}

Json read_json_file(const std::filesystem::path& file, const JsonLimits& limits) {
  std::error_code error;
  const auto status = std::filesystem::status(file, error);
  if (!std::filesystem::exists(status)) fail(file.string(), "no such file");
  if (!std::filesystem::is_regular_file(status)) fail(file.string(), "not a regular file");
  const std::uintmax_t bytes = std::filesystem::file_size(file, error);
  if (error) fail(file.string(), "cannot be read: " + error.message());
  if (bytes == 0) fail(file.string(), "is empty, expected JSON");
  if (bytes > limits.max_bytes) {
    fail(file.string(), std::to_string(bytes) + " bytes, more than the limit of " +
                            std::to_string(limits.max_bytes) + " for a JSON file");
  }
  std::ifstream in(file, std::ios::binary);
  std::string text(bytes, '\0');
  if (!in || !in.read(text.data(), static_cast<std::streamsize>(bytes))) {
    fail(file.string(), "cannot be read (check its permissions)");
  }
  return parse_json(text, file.string(), limits);
}

}  // namespace seer
