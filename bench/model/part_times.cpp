#include "bench/model/part_times.h"

namespace seer::bench {

std::string_view layer_part_name(LayerPart part) {
  switch (part) {
    case LayerPart::kProjections: return "projections";
    case LayerPart::kSelection: return "selection";
    case LayerPart::kAttention: return "attention";
    case LayerPart::kMlp: return "mlp";
  }
  return "unknown";
}

void PartTimes::after(LayerPart part) {
  marks_.mark();
  parts_.push_back(part);
}

std::vector<double> PartTimes::seconds() const {
  const std::vector<double> gaps = marks_.seconds();
  std::vector<double> sums(kLayerParts.size());
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    sums[static_cast<std::size_t>(parts_[i])] += gaps[i];
  }
  return sums;
}

}  // namespace seer::bench
