#include "seer/token_file.h"

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

#include "base/json.h"

namespace seer {
namespace {

[[noreturn]] void refuse(const std::string& place, const Json& value) {
  throw std::runtime_error(fmt::format(
      "{}: expected a list of token ids, a list of such lists, or an object with input_ids; got {}",
      place, value.is_object() ? "an object without input_ids" : value.type_name()));
}

std::vector<TokenId> sequence_of(const Json& list, const std::string& place) {
  if (!list.is_array()) refuse(place, list);
  std::vector<TokenId> ids;
  ids.reserve(list.size());
  for (const Json& id : list) {
    // Above int64's range nlohmann's unsigned numbers would wrap around.
    if (!id.is_number_integer() ||
        (id.is_number_unsigned() && id.get<std::uint64_t>() >> 63 != 0)) {
      throw std::runtime_error(fmt::format("{}[{}]: expected a token id, got {}", place, ids.size(),
                                           id.is_number() ? id.dump() : id.type_name()));
    }
    ids.push_back(id.get<TokenId>());
  }
  return ids;
}

}  // namespace

std::vector<std::vector<TokenId>> read_token_file(const std::filesystem::path& file) {
  const Json json = read_json_file(file);
  const std::string name = file.string();
  if (json.is_object()) {
    const auto ids = json.find("input_ids");
    if (ids == json.end()) refuse(name, json);
    return {sequence_of(*ids, name + ": input_ids")};
  }
  if (!json.is_array()) refuse(name, json);
  if (json.empty() || !json.front().is_array()) return {sequence_of(json, name + ": ")};
  std::vector<std::vector<TokenId>> sequences;
  for (const Json& list : json) {
    std::string place = fmt::format("{}: [{}]", name, sequences.size());
    sequences.push_back(sequence_of(list, place));
  }
  return sequences;
}

}  // namespace seer
