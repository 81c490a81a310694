#pragma once

#include <CLI/CLI.hpp>

#include <memory>
#include <string>
#include <vector>

#include "seer/calibrate.h"
#include "seer/training_data.h"

namespace seer::cli {

// The flags of verbs that run models over a user's text.
struct TextFlags {
  std::vector<std::string> text;
  std::string field = "text";
};

void add_text_flags(CLI::App& command, TextFlags& flags);

// The begin-of-text token that goes in front of documents: the model's, or the tokenizer's first end token where it has
// none (Qwen). Throws std::runtime_error where there is neither.
TokenId document_start(const ModelConfig& model);

// Reads --text. Throws std::invalid_argument where it is missing.
TokenStream read_text(const TextFlags& flags, const Tokenizer& tokenizer, const ModelConfig& model);

struct CalibrationFlags {
  std::vector<std::int64_t>
      lengths;  // empty: half, once and twice `context`, within the model's maximum
  std::int64_t tokens = CalibrationOptions().tokens_per_length;
};

void add_calibration_flags(CLI::App& command, CalibrationFlags& flags);

// `context`: what the gates were trained at. `longest`: tokens of text at hand; longer lengths are left out when they
// are not the user's own.
CalibrationOptions calibration_options(const CalibrationFlags& flags, const ModelConfig& model,
                                       std::int64_t context, std::int64_t longest);

}  // namespace seer::cli
