// What a hub says about a model: its commit and its files.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace seer {

constexpr std::uint64_t kMaxHubFileBytes = std::uint64_t{1} << 40;  // 1 TiB
constexpr std::size_t kMaxHubIndexBytes = std::size_t{32} << 20;

struct HubFile {
  std::string name;
  std::optional<std::uint64_t> size;
  std::string sha256;    // of files in large file storage, else empty
  std::string git_sha1;  // of the others, where the hub says it
};

struct HubIndex {
  std::string commit;
  std::vector<HubFile> files;
};

// Reads the answer of /api/models/ID/revision/REVISION?blobs=true. Throws std::runtime_error that names the source for
// names that lead out of a folder, sizes and numbers of files that no model has, and digests that are none.
HubIndex parse_hub_index(std::string_view text, const std::string& source);

// Those that Seer reads: weights, configuration, tokenizer and chat template.
std::vector<HubFile> wanted_files(const HubIndex& index);

bool is_commit(std::string_view text);  // 40 hexadecimal digits
bool is_sha256(std::string_view text);

}  // namespace seer
