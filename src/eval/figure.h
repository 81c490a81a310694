// A picture of a report with what it was drawn from: for the HTML page, and as files for papers.
#pragma once

#include <string>

#include "eval/chart.h"
#include "eval/heat_map.h"

namespace seer {

struct Figure {
  std::string name;  // of files: letters, digits and '-'
  std::string svg;   // an <svg> element that stands for itself
  std::string csv;   // its values, a header first
};

// Without svg where there is nothing to show.
Figure chart_figure(const Chart& chart);
Figure heat_map_figure(const HeatMap& map);

// "Perplexity, 8192 tokens" becomes "perplexity-8192-tokens".
std::string file_name_of(std::string_view title);

// A field of a CSV line (RFC 4180): quoted where a comma, a quote or a line's end is in it.
std::string csv_text(std::string_view text);

}  // namespace seer
