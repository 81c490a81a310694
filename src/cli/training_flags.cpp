#include "cli/training_flags.h"

#include <algorithm>
#include <set>
#include <stdexcept>

#include "cli/flag_checks.h"

namespace seer::cli {

void add_text_flags(CLI::App& command, TextFlags& flags) {
  command
      .add_option("--text", flags.text,
                  "Text: files or folders (.txt and others: a document each; .jsonl: one a line; "
                  ".json: token ids); may be given several times")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->allow_extra_args(false);
  command.add_option("--field", flags.field, "Field of a .jsonl line that holds the text")
      ->capture_default_str();
}

TokenId document_start(const ModelConfig& model) {
  if (model.bos_token) return *model.bos_token;
  if (!model.eos_tokens.empty()) return model.eos_tokens.front();
  throw std::runtime_error(
      "config.json: neither bos_token_id nor eos_token_id is there to put between documents; add "
      "one of them");
}

TokenStream read_text(const TextFlags& flags, const Tokenizer& tokenizer,
                      const ModelConfig& model) {
  if (flags.text.empty()) {
    throw std::invalid_argument("--text is missing: expected files or folders with text");
  }
  return read_token_stream({.paths = flags.text, .json_field = flags.field}, tokenizer,
                           document_start(model), model.vocab_size);
}

void add_calibration_flags(CLI::App& command, CalibrationFlags& flags) {
  command
      .add_option("--calibration-lengths", flags.lengths,
                  "Prompt lengths to calibrate densities for, with commas (default: half, once and "
                  "twice the context)")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(number<std::int64_t>("an integer"));
  command
      .add_option("--calibration-tokens", flags.tokens,
                  "Tokens to measure for each of these lengths, at least")
      ->capture_default_str()
      ->check(number<std::int64_t>("an integer"));
}

CalibrationOptions calibration_options(const CalibrationFlags& flags, const ModelConfig& model,
                                       std::int64_t context, std::int64_t longest) {
  CalibrationOptions options;
  options.tokens_per_length = flags.tokens;
  options.lengths = flags.lengths;
  if (!options.lengths.empty()) return options;
  std::set<std::int64_t> lengths;
  for (const std::int64_t length : {context / 2, context, 2 * context}) {
    lengths.insert(std::clamp<std::int64_t>(length, 2, std::min(model.max_positions, longest)));
  }
  options.lengths.assign(lengths.begin(), lengths.end());
  return options;
}

}  // namespace seer::cli
