// Line charts as SVG: self-contained, for screen and paper; series differ in colour, marker and dashes.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace seer {

struct ChartPoint {
  double x = 0, y = 0;
};

struct ChartSeries {
  std::string name;
  std::vector<ChartPoint> points;  // in the order of the line
  bool markers = true;
  std::size_t style =
      0;  // colour, marker and dashes: the same number, the same look in every chart
};

// A horizontal line to compare with.
struct ChartReference {
  std::string name;
  double y = 0;
};

struct ChartAxis {
  std::string label;  // with the unit
  bool logarithmic = false;
  // Where the axis begins and ends; else where the values do. Values outside are drawn at the edge with their number.
  std::optional<double> min, max;
  bool percent = false;  // values are shares
};

struct Chart {
  std::string title;
  ChartAxis x, y;
  std::vector<ChartSeries> series;
  std::vector<ChartReference> references;
};

// An <svg> element; "" where no series has a point. Values that are not finite are left out, and on logarithmic axes
// those that are not positive.
std::string chart_svg(const Chart& chart);

// Text as it may stand in HTML and SVG, also inside quotes.
std::string escape_html(std::string_view text);

}  // namespace seer
