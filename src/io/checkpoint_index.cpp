#include "io/checkpoint_index.h"

#include <cstddef>
#include <stdexcept>
#include <string_view>

#include "base/quote.h"

namespace seer {
namespace {

constexpr std::string_view kSuffix = ".safetensors";
constexpr std::size_t kMaxNameBytes = 255;  // of a file, on the usual file systems

// Why this is no file name, or nullptr.
const char* fault_of_name(std::string_view name) {
  if (name.find_first_of("/\\") != name.npos || name == "." || name == "..") {
    return "leads out of the model's folder: expected a file name without slashes";
  }
  if (name.find('\0') != name.npos) return "holds a zero byte";
  if (name.size() > kMaxNameBytes) return "is longer than a file name can be";
  if (!name.ends_with(kSuffix) || name.size() == kSuffix.size()) {
    return "names no .safetensors file: other formats are not read";
  }
  return nullptr;
}

}  // namespace

WeightMap parse_checkpoint_index(const Json& index, const std::string& source) {
  if (!index.is_object())
    throw std::runtime_error(source + ": expected an object, got " + index.type_name());
  const auto found = index.find("weight_map");
  if (found == index.end()) throw std::runtime_error(source + ": has no weight_map");
  if (!found->is_object()) {
    throw std::runtime_error(source + ": weight_map: expected an object, got " +
                             found->type_name());
  }
  if (found->empty()) throw std::runtime_error(source + ": weight_map: names no tensor");
  WeightMap map;
  for (const auto& [tensor, file] : found->items()) {
    const std::string where = source + ": weight_map: " + quote(tensor) + ": ";
    if (!file.is_string())
      throw std::runtime_error(where + "expected a file name, got " + file.type_name());
    const auto& name = file.get_ref<const std::string&>();
    if (const char* fault = fault_of_name(name))
      throw std::runtime_error(where + quote(name) + " " + fault);
    map.emplace(tensor, name);
  }
  return map;
}

}  // namespace seer
