#include "eval/heat_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "eval/chart.h"

namespace seer {
namespace {

constexpr double kCellHeight = 24, kTop = 34, kBelow = 46, kLetter = 6.6;
constexpr double kLeastWidth = 300;

// Red, green, blue at equal steps.
constexpr std::array<std::array<double, 3>, 5> kColours = {
    {{255, 245, 214}, {211, 190, 122}, {134, 131, 122}, {66, 87, 122}, {10, 33, 79}}};

std::string text_svg(double x, double y, std::string_view text, std::string_view attributes) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" {}>{}</text>", x, y, attributes,
                     escape_html(text));
}

std::string cell_svg(double x, double y, double width, std::optional<double> value, double most) {
  if (!value) {
    return fmt::format(
        "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" "
        "fill=\"#fff\" stroke=\"#bbb\"/>",
        x, y, width, kCellHeight);
  }
  const double share = most > 0 ? std::clamp(*value / most, 0.0, 1.0) : 0;
  return fmt::format(
             "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" "
             "fill=\"{}\" stroke=\"#fff\"/>",
             x, y, width, kCellHeight, share_colour(share)) +
         text_svg(x + width / 2, y + kCellHeight / 2 + 4,
                  fmt::format("{:.{}f}", *value * 100, most < 0.1 ? 1 : 0),
                  fmt::format("text-anchor=\"middle\" font-size=\"11\" fill=\"{}\"",
                              share > 0.45 ? "#fff" : "#222"));
}

}  // namespace

std::string share_colour(double share) {
  const double place = std::clamp(share, 0.0, 1.0) * (kColours.size() - 1);
  const auto first = std::min(static_cast<std::size_t>(place), kColours.size() - 2);
  const double part = place - static_cast<double>(first);
  const auto mix = [&](std::size_t channel) {
    return static_cast<int>(
        std::lround(kColours[first][channel] * (1 - part) + kColours[first + 1][channel] * part));
  };
  return fmt::format("#{:02x}{:02x}{:02x}", mix(0), mix(1), mix(2));
}

std::string heat_map_svg(const HeatMap& map) {
  bool has_value = false;
  for (const auto& row : map.values) {
    for (const std::optional<double>& value : row) has_value = has_value || value;
  }
  if (!has_value) return "";
  std::size_t row_letters = 1, column_letters = 3;
  for (const std::string& row : map.rows) row_letters = std::max(row_letters, row.size());
  for (const std::string& name : map.columns)
    column_letters = std::max(column_letters, name.size());
  const double left = 34 + kLetter * static_cast<double>(row_letters);
  const double cell = std::max(26.0, kLetter * static_cast<double>(column_letters) + 8);
  const double grid = cell * static_cast<double>(map.columns.size());
  const double width =
      std::max({left + grid + 16, kLeastWidth, 7.6 * static_cast<double>(map.title.size()) + 16});
  const double bottom = kTop + kCellHeight * static_cast<double>(map.rows.size());

  std::string body = text_svg(width / 2, 18, map.title,
                              "text-anchor=\"middle\" font-weight=\"bold\" font-size=\"14\"");
  for (std::size_t row = 0; row < map.rows.size(); ++row) {
    const double y = kTop + kCellHeight * static_cast<double>(row);
    body += text_svg(left - 6, y + kCellHeight / 2 + 4, map.rows[row], "text-anchor=\"end\"");
    for (std::size_t column = 0; column < map.columns.size(); ++column) {
      body += cell_svg(left + cell * static_cast<double>(column), y, cell, map.values[row][column],
                       map.most);
    }
  }
  for (std::size_t column = 0; column < map.columns.size(); ++column) {
    body += text_svg(left + cell * (static_cast<double>(column) + 0.5), bottom + 17,
                     map.columns[column], "text-anchor=\"middle\"");
  }
  body += text_svg(left + grid / 2, bottom + 35, map.column_label, "text-anchor=\"middle\"");
  const double middle = (kTop + bottom) / 2;
  body +=
      text_svg(14, middle, map.row_label,
               fmt::format("text-anchor=\"middle\" transform=\"rotate(-90 14 {:.1f})\"", middle));
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" width=\"{0:.0f}\" "
      "height=\"{1:.0f}\" role=\"img\" font-family=\"sans-serif\" font-size=\"12\" "
      "fill=\"#222\"><title>{2}</title>{3}</svg>\n",
      width, bottom + kBelow, escape_html(map.title), body);
}

}  // namespace seer
