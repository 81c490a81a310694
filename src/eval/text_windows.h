// Windows of a stream of text, evenly spread, and its documents.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "seer/retrieval_documents.h"
#include "seer/training_data.h"

namespace seer {

// Throws std::invalid_argument where the text has fewer than `length` + 1 tokens.
void check_window_length(const TokenStream& text, std::int64_t length);

// Window `index` of `count`: `bos` and the length - 1 tokens from index * floor((N - length - 1) / count) on.
std::vector<TokenId> text_window(const TokenStream& text, TokenId bos, std::int64_t length,
                                 std::int64_t count, std::int64_t index);

// The documents of a text, without the `bos` in front of each; none of them is empty.
std::vector<TokenSpan> document_spans(const TokenStream& text, TokenId bos);

// Which text it is, as members of a JSON object: "text_tokens": their number, "text_hash": FNV-1a over the ids.
std::string text_settings(const TokenStream& text);

}  // namespace seer
