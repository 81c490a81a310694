#include "eval/longbench/prompts.h"

#include <algorithm>
#include <stdexcept>

#include "base/json.h"
#include "base/quote.h"

namespace seer::longbench {
namespace {

[[noreturn]] void fail(const std::string& place, const std::string& what) {
  throw std::runtime_error(place + ": " + what);
}

void check(const std::string& name, const Json& value, const std::string& source) {
  const bool is_known = std::any_of(datasets().begin(), datasets().end(),
                                    [&](const Dataset& dataset) { return dataset.name == name; });
  if (!is_known) {
    std::string names;
    for (const Dataset& dataset : datasets()) {
      names += (names.empty() ? "" : ", ") + std::string(dataset.name);
    }
    fail(source, "unknown dataset " + quote(name) + ", expected some of: " + names);
  }
  const std::string place = source + ": " + name;
  if (!value.is_string()) fail(place, "expected a text");
  constexpr std::string_view kContext = "{context}";
  const auto& text = value.get_ref<const std::string&>();
  const std::size_t at = text.find(kContext);
  if (at == std::string::npos || text.find(kContext, at + 1) != std::string::npos) {
    fail(place, "expected {context} once in the template");
  }
}

}  // namespace

std::string prompt_template(const std::filesystem::path& file, const Dataset& dataset) {
  if (file.empty()) return dataset.prompt;
  const Json json = read_json_file(file);
  if (!json.is_object()) {
    fail(file.string(), "expected an object: dataset -> template with {context} and {input}");
  }
  for (const auto& [name, value] : json.items()) check(name, value, file.string());
  const auto found = json.find(dataset.name);
  return found == json.end() ? dataset.prompt : found->get<std::string>();
}

}  // namespace seer::longbench
