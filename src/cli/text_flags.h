#pragma once

#include <CLI/CLI.hpp>

#include "seer/config.h"
#include "seer/tokenizer.h"
#include "seer/training_data.h"

namespace seer::cli {

// Adds --text and --field, which say where a stream of text comes from.
void add_text_flags(CLI::App& command, TextSource& source);

// Reads it. Throws std::invalid_argument where the model has no begin-of-text token, std::runtime_error as
// read_token_stream does.
TokenStream load_text(const TextSource& source, const Tokenizer& tokenizer,
                      const ModelConfig& model);

}  // namespace seer::cli
