#include "cli/text_flags.h"

#include <stdexcept>

namespace seer::cli {

void add_text_flags(CLI::App& command, TextSource& source, bool required) {
  command
      .add_option(
          "--text", source.paths,
          "Text: files, and folders whose files are read in name order; .jsonl files have a "
          "document a line, .json files lists of token ids")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->allow_extra_args(false)
      ->required(required);
  command.add_option("--field", source.json_field, "Field of a .jsonl file's lines with the text")
      ->capture_default_str();
}

TokenId document_start(const ModelConfig& model) {
  if (model.bos_token) return *model.bos_token;
  if (!model.eos_tokens.empty()) return model.eos_tokens.front();
  throw std::runtime_error(
      "config.json: neither bos_token_id nor eos_token_id is there to put between documents; add "
      "one of them");
}

TokenStream load_text(const TextSource& source, const Tokenizer& tokenizer,
                      const ModelConfig& model) {
  return read_token_stream(source, tokenizer, document_start(model), model.vocab_size);
}

}  // namespace seer::cli
