#pragma once

#include <CLI/CLI.hpp>

#include "seer/config.h"
#include "seer/tokenizer.h"
#include "seer/training_data.h"

namespace seer::cli {

// Adds --text and --field, which say where a stream of text comes from.
void add_text_flags(CLI::App& command, TextSource& source, bool required = true);

// The token that goes in front of documents: the model's begin-of-text token, or its first end token where it has none
// (Qwen). Throws std::runtime_error where there is neither.
TokenId document_start(const ModelConfig& model);

// Reads the text. Throws std::runtime_error as document_start and read_token_stream do.
TokenStream load_text(const TextSource& source, const Tokenizer& tokenizer,
                      const ModelConfig& model);

}  // namespace seer::cli
