#include "io/hub_index.h"

#include <algorithm>
#include <set>
#include <stdexcept>

#include "base/json.h"
#include "base/quote.h"

namespace seer {
namespace {

constexpr std::uint64_t kMaxModelBytes = std::uint64_t{4} << 40;  // 4 TiB
constexpr std::size_t kMaxFiles = 20'000;

bool is_hex(std::string_view text, std::size_t digits) {
  return text.size() == digits && text.find_first_not_of("0123456789abcdef") == text.npos;
}

// Names are paths below the model's folder, and each part of them is a plain name.
bool is_safe_name(std::string_view name) {
  if (name.empty() || name.size() > 1024) return false;
  for (const char c : name) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F || c == '\\') return false;
  }
  while (true) {
    const std::size_t slash = name.find('/');
    const std::string_view part = name.substr(0, slash);
    if (part.empty() || part == "." || part == ".." || part.size() > 255) return false;
    if (slash == name.npos) return true;
    name.remove_prefix(slash + 1);
  }
}

std::string text_of(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

HubFile parse_file(const Json& entry, const std::string& source) {
  const auto fail = [&](const std::string& what) {
    throw std::runtime_error(source + ": siblings: " + what);
  };
  if (!entry.is_object()) fail("expected objects");
  HubFile file;
  file.name = text_of(entry, "rfilename");
  if (!is_safe_name(file.name)) fail("the file name " + quote(file.name) + " is refused");
  if (const auto size = entry.find("size"); size != entry.end() && !size->is_null()) {
    if (!size->is_number_unsigned() || size->get<std::uint64_t>() > kMaxHubFileBytes) {
      fail("the size of " + quote(file.name) + " is refused: expected 0 to " +
           std::to_string(kMaxHubFileBytes));
    }
    file.size = size->get<std::uint64_t>();
  }
  const auto lfs = entry.find("lfs");
  if (lfs != entry.end() && lfs->is_object()) {
    file.sha256 = text_of(*lfs, "sha256");
    if (!is_sha256(file.sha256)) fail("lfs.sha256 of " + quote(file.name) + " is no SHA-256");
  } else if (const std::string blob = text_of(entry, "blobId"); !blob.empty()) {
    if (!is_commit(blob)) fail("blobId of " + quote(file.name) + " is no SHA-1");
    file.git_sha1 = blob;
  }
  return file;
}

}  // namespace

bool is_commit(std::string_view text) {
  return is_hex(text, 40);
}

bool is_sha256(std::string_view text) {
  return is_hex(text, 64);
}

HubIndex parse_hub_index(std::string_view text, const std::string& source) {
  JsonLimits limits;
  limits.max_bytes = kMaxHubIndexBytes;
  const Json json = parse_json(text, source, limits);
  const auto fail = [&](const std::string& what) {
    throw std::runtime_error(source + ": " + what);
  };
  if (!json.is_object()) fail("expected a JSON object");
  HubIndex index;
  index.commit = text_of(json, "sha");
  if (!is_commit(index.commit)) fail("sha: expected a commit of 40 hexadecimal digits");
  const auto siblings = json.find("siblings");
  if (siblings == json.end() || !siblings->is_array()) fail("siblings: expected a list of files");
  if (siblings->size() > kMaxFiles)
    fail("siblings: more than " + std::to_string(kMaxFiles) + " files");
  std::set<std::string> names;
  std::uint64_t total = 0;
  for (const Json& entry : *siblings) {
    HubFile file = parse_file(entry, source);
    if (!names.insert(file.name).second) fail("siblings: " + quote(file.name) + " appears twice");
    total += file.size.value_or(0);
    if (total > kMaxModelBytes)
      fail("siblings: more than " + std::to_string(kMaxModelBytes) + " bytes");
    index.files.push_back(std::move(file));
  }
  return index;
}

std::vector<HubFile> wanted_files(const HubIndex& index) {
  static const std::set<std::string, std::less<>> kNames = {
      "config.json",           "generation_config.json",  "tokenizer.json",
      "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja",
      "gate_config.json"};
  const auto is_weights = [](const HubFile& file) {
    return file.name.ends_with(".safetensors") || file.name.ends_with(".safetensors.index.json");
  };
  // Some models have their weights twice: as model*.safetensors, and by another name for another program.
  const bool has_model =
      std::any_of(index.files.begin(), index.files.end(), [](const HubFile& file) {
        return file.name == "model.safetensors" || file.name == "model.safetensors.index.json";
      });
  std::vector<HubFile> wanted;
  for (const HubFile& file : index.files) {
    if (file.name.find('/') != std::string::npos) continue;
    const bool weights = is_weights(file) && (!has_model || file.name.starts_with("model"));
    if (weights || kNames.contains(file.name)) wanted.push_back(file);
  }
  // Small files first: a model that is not supported shows before its weights arrive.
  std::stable_sort(wanted.begin(), wanted.end(), [](const HubFile& a, const HubFile& b) {
    return !a.name.ends_with(".safetensors") && b.name.ends_with(".safetensors");
  });
  return wanted;
}

}  // namespace seer
