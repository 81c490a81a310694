// A request of `seer batch`: a JSON object whose fields are checked as they are read.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "seer/chat_template.h"
#include "seer/tokenizer.h"

namespace seer::cli {

// All throw std::invalid_argument that names the field, the value and what is expected.
class Request {
 public:
  // `object` must outlive the request, and be one.
  explicit Request(const nlohmann::json& object) : object_(object) {}

  // Refuses fields besides these, `id` and `kind`.
  void expect_only(std::string_view kind, std::initializer_list<std::string_view> fields) const;
  bool has(const std::string& field) const { return object_.contains(field); }

  std::string text(const std::string& field) const;
  std::vector<TokenId> tokens(const std::string& field) const;
  std::vector<std::string> texts(const std::string& field) const;  // empty where it is absent
  std::vector<ChatMessage> messages(const std::string& field) const;
  std::int64_t integer(const std::string& field, std::int64_t otherwise) const;
  double number(const std::string& field, double otherwise) const;
  bool flag(const std::string& field, bool otherwise) const;

 private:
  const nlohmann::json& needed(const std::string& field) const;

  const nlohmann::json& object_;
};

}  // namespace seer::cli
