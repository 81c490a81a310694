// Strict JSON for files that may be hostile: bounded depth and size, no duplicate keys, errors that name the source.
#pragma once

#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace seer {

using Json = nlohmann::json;

struct JsonLimits {
  std::size_t max_bytes = std::size_t{256} << 20;
  int max_depth = 64;
};

// Throws std::runtime_error "<source>: ..." with line and column for invalid UTF-8, syntax errors, duplicate keys, too
// deep nesting or too many bytes.
Json parse_json(std::string_view text, const std::string& source, const JsonLimits& limits = {});

// As above; also for a file that is missing, unreadable or no regular file.
Json read_json_file(const std::filesystem::path& file, const JsonLimits& limits = {});

}  // namespace seer
