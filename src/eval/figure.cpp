#include "eval/figure.h"

#include <fmt/format.h>

#include <cctype>

namespace seer {

Figure chart_figure(const Chart& chart) {
  std::string csv = fmt::format("series,{},{}\n", csv_text(chart.x.label), csv_text(chart.y.label));
  for (const ChartReference& reference : chart.references) {
    csv += fmt::format("{},,{}\n", csv_text(reference.name), reference.y);
  }
  for (const ChartSeries& series : chart.series) {
    for (const ChartPoint& point : series.points) {
      csv += fmt::format("{},{},{}\n", csv_text(series.name), point.x, point.y);
    }
  }
  return {.name = file_name_of(chart.title), .svg = chart_svg(chart), .csv = std::move(csv)};
}

Figure heat_map_figure(const HeatMap& map) {
  std::string csv =
      fmt::format("{},{},{}\n", csv_text(map.row_label), csv_text(map.column_label), "value");
  for (std::size_t row = 0; row < map.rows.size(); ++row) {
    for (std::size_t column = 0; column < map.columns.size(); ++column) {
      const std::optional<double> value = map.values[row][column];
      csv += fmt::format("{},{},{}\n", csv_text(map.rows[row]), csv_text(map.columns[column]),
                         value ? fmt::format("{}", *value) : "");
    }
  }
  return {.name = file_name_of(map.title), .svg = heat_map_svg(map), .csv = std::move(csv)};
}

std::string file_name_of(std::string_view title) {
  std::string name;
  for (const char character : title) {
    const auto byte = static_cast<unsigned char>(character);
    if (std::isalnum(byte) != 0 && byte < 128) {
      name += static_cast<char>(std::tolower(byte));
    } else if (!name.empty() && name.back() != '-') {
      name += '-';
    }
  }
  while (!name.empty() && name.back() == '-') name.pop_back();
  return name;
}

std::string csv_text(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(text);
  std::string quoted = "\"";
  for (const char character : text) {
    if (character == '"') quoted += '"';
    quoted += character;
  }
  return quoted + "\"";
}

}  // namespace seer
