#include "cli/request.h"

#include <algorithm>
#include <limits>
#include <stdexcept>

namespace seer::cli {
namespace {

// A value as messages show it.
std::string shown(const nlohmann::json& value) {
  constexpr std::size_t kMost = 40;
  const std::string text = value.dump(-1, ' ', /*ensure_ascii=*/true);
  return text.size() <= kMost ? text : text.substr(0, kMost) + "...";
}

[[noreturn]] void refuse(const std::string& place, const char* expected,
                         const nlohmann::json& value) {
  throw std::invalid_argument(place + ": expected " + expected + ", got " + shown(value));
}

// Integers that fit 64 bits with a sign.
bool is_integer(const nlohmann::json& value) {
  if (value.is_number_unsigned()) {
    return value.get<std::uint64_t>() <=
           static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  }
  return value.is_number_integer();
}

std::string at(const std::string& field, std::size_t index) {
  return field + "[" + std::to_string(index) + "]";
}

}  // namespace

void Request::expect_only(std::string_view kind,
                          std::initializer_list<std::string_view> fields) const {
  for (const auto& item : object_.items()) {
    const std::string& name = item.key();
    if (name == "id" || name == "kind") continue;
    if (std::find(fields.begin(), fields.end(), name) != fields.end()) continue;
    std::string known;
    for (const std::string_view field : fields) {
      known += (known.empty() ? "" : ", ") + std::string(field);
    }
    throw std::invalid_argument(shown(name) + ": no field of kind \"" + std::string(kind) +
                                "\", whose fields are " + (known.empty() ? "none" : known));
  }
}

const nlohmann::json& Request::needed(const std::string& field) const {
  const auto found = object_.find(field);
  if (found == object_.end()) throw std::invalid_argument(field + ": is missing");
  return *found;
}

std::string Request::text(const std::string& field) const {
  const nlohmann::json& value = needed(field);
  if (!value.is_string()) refuse(field, "text", value);
  return value.get<std::string>();
}

std::vector<TokenId> Request::tokens(const std::string& field) const {
  const nlohmann::json& value = needed(field);
  if (!value.is_array()) refuse(field, "a list of token ids", value);
  std::vector<TokenId> ids;
  for (const nlohmann::json& id : value) {
    if (!is_integer(id)) refuse(at(field, ids.size()), "a token id", id);
    ids.push_back(id.get<TokenId>());
  }
  return ids;
}

std::vector<std::string> Request::texts(const std::string& field) const {
  std::vector<std::string> texts;
  if (!has(field)) return texts;
  const nlohmann::json& value = needed(field);
  if (!value.is_array()) refuse(field, "a list of texts", value);
  for (const nlohmann::json& text : value) {
    if (!text.is_string()) refuse(at(field, texts.size()), "text", text);
    texts.push_back(text.get<std::string>());
  }
  return texts;
}

std::vector<ChatMessage> Request::messages(const std::string& field) const {
  const nlohmann::json& value = needed(field);
  if (!value.is_array() || value.empty()) refuse(field, "a list of messages", value);
  std::vector<ChatMessage> messages;
  for (const nlohmann::json& message : value) {
    const bool good = message.is_object() && message.contains("role") &&
                      message["role"].is_string() && message.contains("content") &&
                      message["content"].is_string();
    if (!good) {
      refuse(at(field, messages.size()), R"({"role": text, "content": text})", message);
    }
    messages.push_back({.role = message["role"].get<std::string>(),
                        .content = message["content"].get<std::string>()});
  }
  return messages;
}

std::int64_t Request::integer(const std::string& field, std::int64_t otherwise) const {
  if (!has(field)) return otherwise;
  const nlohmann::json& value = needed(field);
  if (!is_integer(value)) refuse(field, "an integer", value);
  return value.get<std::int64_t>();
}

double Request::number(const std::string& field, double otherwise) const {
  if (!has(field)) return otherwise;
  const nlohmann::json& value = needed(field);
  if (!value.is_number()) refuse(field, "a number", value);
  return value.get<double>();
}

bool Request::flag(const std::string& field, bool otherwise) const {
  if (!has(field)) return otherwise;
  const nlohmann::json& value = needed(field);
  if (!value.is_boolean()) refuse(field, "true or false", value);
  return value.get<bool>();
}

}  // namespace seer::cli
