#include "cli/recipe.h"

#include "cli/toml_arguments.h"

namespace seer::cli {

std::vector<std::string> expand_recipe(std::vector<std::string> arguments, const CLI::App& verb) {
  const std::string flag = "--recipe";
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    std::size_t taken = 1;
    std::string file;
    if (arguments[i] == flag && i + 1 < arguments.size()) {
      file = arguments[i + 1];
      taken = 2;
    } else if (arguments[i].starts_with(flag + "=")) {
      file = arguments[i].substr(flag.size() + 1);
    } else {
      continue;
    }
    const auto at = arguments.begin() + static_cast<std::ptrdiff_t>(i);
    arguments.erase(at, at + static_cast<std::ptrdiff_t>(taken));
    std::vector<std::string> settings =
        toml_arguments(read_toml(file), file, verb, /*reserved=*/{}, /*given=*/arguments);
    settings.insert(settings.end(), arguments.begin(), arguments.end());
    return expand_recipe(std::move(settings), verb);
  }
  return arguments;
}

}  // namespace seer::cli
