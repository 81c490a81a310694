// Chat templates of tokenizer_config.json: the subset of Jinja that Llama-3.x, Qwen and Mistral templates use.
#pragma once

#include <ctime>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace seer {

struct ChatMessage {
  std::string role;  // "system", "user", "assistant", "tool"
  std::string content;
};

// Renders as Hugging Face's apply_chat_template does. A template is data from the outside: it sees the variables that
// it is given and nothing else, and what it may take of time and memory is limited.
class ChatTemplate {
 public:
  // Throws std::runtime_error with `source`, line and column for anything outside the subset.
  static ChatTemplate parse(std::string_view text, const std::string& source);
  // The chat_template of a model folder: chat_template.jinja, or tokenizer_config.json (a string, or a list of named
  // templates, of which "default" is taken). bos_token, eos_token and their kin come from tokenizer_config.json, or
  // where it has none from special_tokens_map.json.
  static ChatTemplate load(const std::filesystem::path& folder);

  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  // Throws std::runtime_error with source, line and column when the template raises an exception (raise_exception),
  // meets a value that it cannot handle or exceeds its limits, and for text that is no valid UTF-8.
  std::string render(const std::vector<ChatMessage>& messages, bool add_generation_prompt) const;
  // The same with any variables, as a JSON object: messages, tools, add_generation_prompt, ... tools and documents
  // are none, and the special tokens those of the model, unless they are given.
  std::string render_json(const std::string& variables) const;

  // What strftime_now takes for now; the local time unless this is called.
  void set_clock(std::function<std::tm()> local_time);

 private:
  struct Impl;
  explicit ChatTemplate(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace seer
