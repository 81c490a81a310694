// The post-processor TemplateProcessing, for one sequence.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace seer::tok {

// Ids to put in, or, where there are none, the text's own.
using TemplatePiece = std::optional<std::vector<std::uint32_t>>;
using Template = std::vector<TemplatePiece>;

std::vector<std::int64_t> apply(const Template& pieces, const std::vector<std::int64_t>& ids,
                                bool add_special_tokens);

}  // namespace seer::tok
