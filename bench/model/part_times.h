// Where the time of a pass goes.
#pragma once

#include <array>
#include <string_view>
#include <vector>

#include "bench/support/work_marks.h"
#include "seer/model.h"

namespace seer::bench {

inline constexpr std::array kLayerParts = {LayerPart::kProjections, LayerPart::kSelection,
                                           LayerPart::kAttention, LayerPart::kMlp};
std::string_view layer_part_name(LayerPart part);  // "projections", ...

// Takes a mark after each part and sums up the time between marks by the part that it ends. On a GPU nothing waits
// meanwhile.
class PartTimes {
 public:
  explicit PartTimes(c10::Device device) : marks_(device) { marks_.mark(); }

  void after(LayerPart part);
  // Of all layers together, in the order of kLayerParts.
  std::vector<double> seconds() const;

 private:
  WorkMarks marks_;
  std::vector<LayerPart> parts_;
};

}  // namespace seer::bench
