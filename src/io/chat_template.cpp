#include "seer/chat_template.h"

#include <algorithm>
#include <fstream>
#include <stdexcept>
#include <utility>

#include "base/json.h"
#include "io/jinja/interpreter.h"
#include "io/jinja/json_text.h"
#include "io/jinja/lexer.h"
#include "io/jinja/parser.h"
#include "io/jinja/text.h"

namespace seer {
namespace {

constexpr std::size_t kMaxTemplateBytes = std::size_t{1} << 20;
constexpr JsonLimits kConfigLimits{.max_bytes = std::size_t{64} << 20};

constexpr const char* kSpecialTokens[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                          "pad_token", "cls_token", "mask_token"};

std::tm local_time_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::localtime_r(&now, &parts);
  return parts;
}

// "line 3, column 14"
std::string place(std::string_view text, std::size_t offset) {
  const std::string_view before = text.substr(0, offset);
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const std::size_t newline = before.rfind('\n');
  const std::string_view in_line = before.substr(newline == before.npos ? 0 : newline + 1);
  return "line " + std::to_string(line) + ", column " +
         std::to_string(jinja::count_characters(in_line) + 1);
}

std::string read_template(const std::filesystem::path& file) {
  std::error_code error;
  const std::uintmax_t bytes = std::filesystem::file_size(file, error);
  if (error) throw std::runtime_error(file.string() + ": cannot be read: " + error.message());
  if (bytes > kMaxTemplateBytes) {
    throw std::runtime_error(file.string() + ": " + std::to_string(bytes) +
                             " bytes, more than the limit of " + std::to_string(kMaxTemplateBytes) +
                             " for a chat template");
  }
  std::ifstream in(file, std::ios::binary);
  std::string text(bytes, '\0');
  if (!in || !in.read(text.data(), static_cast<std::streamsize>(bytes))) {
    throw std::runtime_error(file.string() + ": cannot be read (check its permissions)");
  }
  return text;
}

// A special token is a text, or an object with its text as "content".
std::string token_text(const Json& config, const char* name) {
  const auto found = config.find(name);
  if (found == config.end()) return "";
  if (found->is_string()) return found->get<std::string>();
  if (found->is_object() && found->contains("content") && (*found)["content"].is_string()) {
    return (*found)["content"].get<std::string>();
  }
  return "";
}

[[noreturn]] void fail_template(const std::string& source, const std::string& what) {
  throw std::runtime_error(source + ": chat_template: " + what);
}

// The template's text in tokenizer_config.json; empty where there is none.
std::string template_of(const Json& config, const std::string& source) {
  const auto found = config.find("chat_template");
  if (found == config.end() || found->is_null()) return "";
  if (found->is_string()) return found->get<std::string>();
  if (!found->is_array()) fail_template(source, "expected a string or a list of named templates");
  std::string names;
  for (const Json& entry : *found) {
    if (!entry.is_object() || !entry.contains("name") || !entry.contains("template") ||
        !entry["name"].is_string() || !entry["template"].is_string()) {
      fail_template(source, "expected objects with \"name\" and \"template\" in the list");
    }
    if (entry["name"] == "default") return entry["template"].get<std::string>();
    names += (names.empty() ? "" : ", ") + entry["name"].get<std::string>();
  }
  fail_template(source, "expected a template with the name \"default\", got: " + names);
}

}  // namespace

struct ChatTemplate::Impl {
  std::string source;
  std::string text;
  jinja::Body body;
  std::vector<std::pair<std::string, std::string>> special_tokens;
  std::function<std::tm()> clock = local_time_now;

  [[noreturn]] void fail(const std::string& what, std::size_t offset) const {
    throw std::runtime_error(source + ": " + place(text, offset) + ": " + what);
  }

  std::string render(std::vector<std::pair<std::string, jinja::Value>> variables,
                     jinja::Budget& budget) const {
    std::vector<std::pair<std::string, jinja::Value>> all;
    all.emplace_back("tools", jinja::Value());
    all.emplace_back("documents", jinja::Value());
    for (const auto& [name, token] : special_tokens) all.emplace_back(name, jinja::Value(token));
    for (auto& variable : variables) all.push_back(std::move(variable));
    try {
      return jinja::render(body, all, budget, clock);
    } catch (const jinja::RenderError& error) {
      fail(error.what(), error.offset);
    }
  }
};

ChatTemplate::ChatTemplate(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

ChatTemplate ChatTemplate::parse(std::string_view text, const std::string& source) {
  if (text.size() > kMaxTemplateBytes) {
    throw std::runtime_error(source + ": a chat template of " + std::to_string(text.size()) +
                             " bytes, more than the limit of " + std::to_string(kMaxTemplateBytes));
  }
  if (const auto invalid = jinja::find_invalid_utf8(text)) {
    throw std::runtime_error(source + ": no valid UTF-8 at byte " + std::to_string(*invalid));
  }
  auto impl = std::make_unique<Impl>();
  impl->source = source;
  impl->text = jinja::normalize_template(text);
  try {
    impl->body = jinja::parse_template(impl->text);
  } catch (const jinja::SyntaxError& error) {
    impl->fail(error.what(), error.offset);
  }
  return ChatTemplate(std::move(impl));
}

ChatTemplate ChatTemplate::load(const std::filesystem::path& folder) {
  const std::filesystem::path config_file = folder / "tokenizer_config.json";
  const std::filesystem::path template_file = folder / "chat_template.jinja";
  const std::filesystem::path tokens_file = folder / "special_tokens_map.json";
  Json config = Json::object();
  if (std::filesystem::exists(config_file)) config = read_json_file(config_file, kConfigLimits);
  if (!config.is_object())
    throw std::runtime_error(config_file.string() + ": expected a JSON object");

  std::string text;
  std::string source = config_file.string() + ": chat_template";
  if (std::filesystem::exists(template_file)) {
    text = read_template(template_file);
    source = template_file.string();
  } else {
    text = template_of(config, config_file.string());
    if (text.empty()) {
      throw std::runtime_error(
          folder.string() +
          ": no chat template: expected the file chat_template.jinja, or \"chat_template\" in "
          "tokenizer_config.json. A base model has none: take the model's Instruct variant");
    }
  }

  ChatTemplate loaded = parse(text, source);
  Json more = Json::object();
  if (std::filesystem::exists(tokens_file)) more = read_json_file(tokens_file, kConfigLimits);
  for (const char* name : kSpecialTokens) {
    std::string token = token_text(config, name);
    if (token.empty() && !config.contains(name) && more.is_object()) token = token_text(more, name);
    if (!token.empty()) loaded.impl_->special_tokens.emplace_back(name, std::move(token));
  }
  return loaded;
}

std::string ChatTemplate::render(const std::vector<ChatMessage>& messages,
                                 bool add_generation_prompt) const {
  jinja::Budget budget{jinja::Limits{}};
  std::vector<jinja::Value> list;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const auto& [role, content] = messages[i];
    if (jinja::find_invalid_utf8(role) || jinja::find_invalid_utf8(content)) {
      throw std::runtime_error("message " + std::to_string(i) + " is no valid UTF-8");
    }
    list.push_back(jinja::Value::dict(
        {{"role", jinja::Value(role)}, {"content", jinja::Value(content)}}, budget));
  }
  return impl_->render({{"messages", jinja::Value::list(std::move(list), budget)},
                        {"add_generation_prompt", jinja::Value(add_generation_prompt)}},
                       budget);
}

std::string ChatTemplate::render_json(const std::string& variables) const {
  jinja::Budget budget{jinja::Limits{}};
  const jinja::Value values = jinja::from_json(variables, "the template's variables", budget);
  if (!values.is_dict())
    throw std::runtime_error("the template's variables: expected a JSON object");
  return impl_->render(values.as_dict().items, budget);
}

void ChatTemplate::set_clock(std::function<std::tm()> local_time) {
  impl_->clock = std::move(local_time);
}

}  // namespace seer
