#include "io/tokenizer/template.h"

namespace seer::tok {

std::vector<std::int64_t> apply(const Template& pieces, const std::vector<std::int64_t>& ids,
                                bool add_special_tokens) {
  std::vector<std::int64_t> out;
  out.reserve(ids.size() + pieces.size());
  for (const TemplatePiece& piece : pieces) {
    if (!piece) {
      out.insert(out.end(), ids.begin(), ids.end());
    } else if (add_special_tokens) {
      out.insert(out.end(), piece->begin(), piece->end());
    }
  }
  return out;
}

}  // namespace seer::tok
