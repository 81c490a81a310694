#include "cli/text_flags.h"

#include <stdexcept>

namespace seer::cli {

void add_text_flags(CLI::App& command, TextSource& source) {
  command
      .add_option(
          "--text", source.paths,
          "Text: files, and folders whose files are read in name order; .jsonl files have a "
          "document a line, .json files lists of token ids")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->required();
  command.add_option("--field", source.json_field, "Field of a .jsonl file's lines with the text")
      ->capture_default_str();
}

TokenStream load_text(const TextSource& source, const Tokenizer& tokenizer,
                      const ModelConfig& model) {
  if (!model.bos_token) {
    throw std::invalid_argument(
        "config.json: bos_token_id is missing: texts begin with this token; add it");
  }
  return read_token_stream(source, tokenizer, *model.bos_token, model.vocab_size);
}

}  // namespace seer::cli
