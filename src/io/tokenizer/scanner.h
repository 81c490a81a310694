// Hand-written splitters for the three split patterns that almost every model uses; exactly what the patterns match.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace seer::tok {

enum class KnownPattern { kGpt2, kLlama3, kQwen2 };

// GPT-2's pattern, which the pre-tokenizer ByteLevel uses.
std::string_view gpt2_pattern();

// The scanner of a pattern, if it has one.
std::optional<KnownPattern> known_pattern(std::string_view pattern);

// The end of the piece that begins at `pos` < text.size(). The pieces cover all of the text.
std::size_t end_of_piece(KnownPattern pattern, std::string_view text, std::size_t pos);

}  // namespace seer::tok
