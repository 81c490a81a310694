#include "cli/recipe.h"

#include <algorithm>
#include <sstream>
#include <stdexcept>

#include <toml++/toml.h>

#include "seer/text_file.h"

namespace seer::cli {
namespace {

class RecipeReader {
 public:
  RecipeReader(std::string file, const std::vector<std::string>& given, const CLI::App& verb)
      : file_(std::move(file)), given_(given), verb_(verb) {}

  std::vector<std::string> read() {
    const std::string text = read_text_file(file_);
    try {
      take(toml::parse(text, file_));
    } catch (const toml::parse_error& error) {
      fail(error.source(), std::string(error.description()));
    }
    return std::move(arguments_);
  }

 private:
  [[noreturn]] void fail(const toml::source_region& place, const std::string& what) const {
    throw std::runtime_error(file_ + ":" + std::to_string(place.begin.line) + ": " + what);
  }

  void take(const toml::table& table) {
    for (const auto& [key, node] : table) {
      if (const toml::table* inner = node.as_table()) {
        take(*inner);
      } else {
        take(std::string(key.str()), node);
      }
    }
  }

  void take(const std::string& key, const toml::node& node) {
    std::string flag = "--" + key;
    std::replace(flag.begin(), flag.end(), '_', '-');
    const CLI::Option* option = verb_.get_option_no_throw(flag);
    if (option == nullptr || flag == "--recipe" || flag == "--help") {
      fail(node.source(), "unknown key '" + key + "'; expected a long flag of seer " +
                              verb_.get_name() + " (--help lists them)");
    }
    if (is_given(flag)) return;
    if (option->get_expected_max() == 0) {
      const std::optional<bool> on = node.value<bool>();
      if (!on || !node.is_boolean()) fail(node.source(), key + ": expected true or false");
      if (*on) arguments_.push_back(flag);
      return;
    }
    if (const toml::array* array = node.as_array()) {
      for (const toml::node& element : *array) add(flag, key, element);
    } else {
      add(flag, key, node);
    }
  }

  void add(const std::string& flag, const std::string& key, const toml::node& node) {
    std::string value;
    if (const auto* text = node.as_string()) {
      value = text->get();
    } else if (node.is_integer() || node.is_floating_point()) {
      std::ostringstream stream;
      stream << toml::node_view<const toml::node>(node);
      value = stream.str();
    } else {
      fail(node.source(), key + ": expected a text, a number, true, false or a list of these");
    }
    arguments_.push_back(flag);
    arguments_.push_back(value);
  }

  bool is_given(const std::string& flag) const {
    return std::any_of(given_.begin(), given_.end(), [&](const std::string& argument) {
      return argument == flag || argument.starts_with(flag + "=");
    });
  }

  std::string file_;
  const std::vector<std::string>& given_;
  const CLI::App& verb_;
  std::vector<std::string> arguments_;
};

}  // namespace

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
    std::vector<std::string> settings = RecipeReader(file, arguments, verb).read();
    settings.insert(settings.end(), arguments.begin(), arguments.end());
    return expand_recipe(std::move(settings), verb);
  }
  return arguments;
}

}  // namespace seer::cli
