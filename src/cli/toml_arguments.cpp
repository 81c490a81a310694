#include "cli/toml_arguments.h"

#include <algorithm>
#include <optional>
#include <sstream>
#include <stdexcept>

#include "seer/text_file.h"

namespace seer::cli {
namespace {

bool contains(const std::vector<std::string>& list, std::string_view text) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

class Arguments {
 public:
  Arguments(const std::string& file, const CLI::App& command,
            const std::vector<std::string>& reserved, const std::vector<std::string>& given)
      : file_(file), command_(command), reserved_(reserved), given_(given) {}

  void take(const toml::table& table) {
    for (const auto& [key, node] : table) {
      if (contains(reserved_, key.str())) continue;
      if (const toml::table* inner = node.as_table()) {
        take(*inner);
      } else {
        take(std::string(key.str()), node);
      }
    }
  }

  std::vector<std::string> list() && { return std::move(arguments_); }

 private:
  void take(const std::string& key, const toml::node& node) {
    std::string flag = "--" + key;
    std::replace(flag.begin(), flag.end(), '_', '-');
    const CLI::Option* option = command_.get_option_no_throw(flag);
    if (option == nullptr || flag == "--recipe" || flag == "--config" || flag == "--help") {
      fail_at(file_, node.source(),
              "unknown key '" + key + "'; expected a long flag of seer " + command_.get_name() +
                  " (--help lists them)");
    }
    if (is_given(flag)) return;
    if (option->get_expected_max() == 0) {
      const std::optional<bool> on = node.value<bool>();
      if (!on || !node.is_boolean())
        fail_at(file_, node.source(), key + ": expected true or false");
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
      fail_at(file_, node.source(),
              key + ": expected a text, a number, true, false or a list of these");
    }
    arguments_.push_back(flag);
    arguments_.push_back(value);
  }

  bool is_given(const std::string& flag) const {
    return std::any_of(given_.begin(), given_.end(), [&](const std::string& argument) {
      return argument == flag || argument.starts_with(flag + "=");
    });
  }

  const std::string& file_;
  const CLI::App& command_;
  const std::vector<std::string>& reserved_;
  const std::vector<std::string>& given_;
  std::vector<std::string> arguments_;
};

}  // namespace

void fail_at(const std::string& file, const toml::source_region& place, const std::string& what) {
  throw std::runtime_error(file + ":" + std::to_string(place.begin.line) + ": " + what);
}

toml::table read_toml(const std::string& file) {
  const std::string text = read_text_file(file);
  try {
    return toml::parse(text, file);
  } catch (const toml::parse_error& error) {
    fail_at(file, error.source(), std::string(error.description()));
  }
}

std::vector<std::string> toml_arguments(const toml::table& table, const std::string& file,
                                        const CLI::App& command,
                                        const std::vector<std::string>& reserved,
                                        const std::vector<std::string>& given) {
  Arguments arguments(file, command, reserved, given);
  arguments.take(table);
  return std::move(arguments).list();
}

}  // namespace seer::cli
