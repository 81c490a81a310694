// Shares in a grid as SVG: each cell has its colour and its number, so that it reads without colours too.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace seer {

struct HeatMap {
  std::string title;
  std::string row_label, column_label;
  std::vector<std::string> rows, columns;
  std::vector<std::vector<std::optional<double>>> values;  // [rows][columns]; none: not measured
  double most = 1;  // what the darkest colour stands for; 0 is the lightest
};

// An <svg> element; "" without a value.
std::string heat_map_svg(const HeatMap& map);

// "#rrggbb" of a share of the darkest: from pale yellow over grey to dark blue, darker all the way, which all kinds of
// colour vision and grey printers tell apart.
std::string share_colour(double share);

}  // namespace seer
