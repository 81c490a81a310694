// Chat templates of tokenizer_config.json: the subset of Jinja that Llama-3.x and Qwen templates use.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace seer {

struct ChatMessage {
  std::string role;  // "system", "user", "assistant", "tool"
  std::string content;
};

class ChatTemplate {
 public:
  // Throws std::runtime_error with `source`, line and column for anything outside the subset.
  static ChatTemplate parse(std::string_view text, const std::string& source);
  // The chat_template of a model folder: chat_template.jinja, or tokenizer_config.json (a string, or a list of named
  // templates, of which "default" is taken). bos_token and eos_token come from tokenizer_config.json.
  static ChatTemplate load(const std::filesystem::path& folder);

  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  // Throws std::runtime_error when the template raises an exception (raise_exception) or exceeds its output or loop
  // limits.
  std::string render(const std::vector<ChatMessage>& messages, bool add_generation_prompt) const;
  // The same with any variables, as a JSON object: messages, tools, add_generation_prompt, ...
  std::string render_json(const std::string& variables) const;

 private:
  struct Impl;
  explicit ChatTemplate(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace seer
