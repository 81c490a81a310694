#include <algorithm>

#include "seer/text_metrics.h"

namespace seer {

double classification_score(std::string_view prediction, std::string_view reference,
                            const std::vector<std::string>& classes) {
  std::vector<std::string_view> found;
  for (const std::string& name : classes) {
    if (prediction.find(name) != std::string_view::npos) found.push_back(name);
  }
  // The published loop removes from the list that it runs over, and so steps over the entry behind.
  for (std::size_t i = 0; i < found.size(); ++i) {
    const std::string_view name = found[i];
    if (name == reference || reference.find(name) == std::string_view::npos) continue;
    found.erase(std::find(found.begin(), found.end(), name));
  }
  if (std::find(found.begin(), found.end(), reference) == found.end()) return 0;
  return 1 / static_cast<double>(found.size());
}

}  // namespace seer
