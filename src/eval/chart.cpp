#include "eval/chart.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <string_view>

#include "eval/chart_scale.h"

namespace seer {
namespace {

constexpr double kWidth = 560, kPlotHeight = 250;
constexpr double kLeft = 66, kRight = 18, kTop = 34, kBelowPlot = 48, kLegendRow = 19;
constexpr double kLetter = 6.3;  // width of a letter at 12 px, on the safe side

// Okabe and Ito's colours for all kinds of colour vision, without the yellow that vanishes on white.
constexpr std::array<std::string_view, 7> kColours = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                                      "#000000", "#e69f00", "#56b4e9"};
constexpr std::array<std::string_view, 4> kDashes = {"", "7 3", "2 3", "9 3 2 3"};

struct Style {
  std::string_view colour, dash;
  std::size_t marker;
};

Style style_of(std::size_t series) {
  return {kColours[series % kColours.size()], kDashes[series % kDashes.size()], series % 6};
}

std::string marker_svg(double x, double y, const Style& style) {
  const auto polygon = [&](std::string_view points) {
    return fmt::format(
        "<polygon transform=\"translate({:.1f} {:.1f})\" points=\"{}\" fill=\"{}\"/>", x, y, points,
        style.colour);
  };
  switch (style.marker) {
    case 0:
      return fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4\" fill=\"{}\"/>", x, y,
                         style.colour);
    case 1: return polygon("-4,-4 4,-4 4,4 -4,4");
    case 2: return polygon("0,-5 5,4 -5,4");
    case 3: return polygon("0,-5.5 5.5,0 0,5.5 -5.5,0");
    case 4: return polygon("0,5 5,-4 -5,-4");
    default: return polygon("-5,-2 -2,-2 -2,-5 2,-5 2,-2 5,-2 5,2 2,2 2,5 -2,5 -2,2 -5,2");
  }
}

std::string line_svg(double x1, double y1, double x2, double y2, std::string_view attributes) {
  return fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" {}/>", x1, y1,
                     x2, y2, attributes);
}

std::string text_svg(double x, double y, std::string_view text, std::string_view attributes) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" {}>{}</text>", x, y, attributes,
                     escape_html(text));
}

std::string axes_svg(const Chart& chart, const ChartScale& x, const ChartScale& y) {
  const double bottom = kTop + kPlotHeight, right = kWidth - kRight;
  std::string svg;
  for (const double tick : y.ticks()) {
    const double place = y.place(tick);
    svg += line_svg(kLeft, place, right, place, "stroke=\"#e3e3e3\"");
    svg += text_svg(kLeft - 7, place + 4, y.text(tick), "text-anchor=\"end\"");
  }
  for (const double tick : x.ticks()) {
    const double place = x.place(tick);
    svg += line_svg(place, kTop, place, bottom, "stroke=\"#e3e3e3\"");
    svg += line_svg(place, bottom, place, bottom + 4, "stroke=\"#444\"");
    svg += text_svg(place, bottom + 18, x.text(tick), "text-anchor=\"middle\"");
  }
  svg += line_svg(kLeft, bottom, right, bottom, "stroke=\"#444\"");
  svg += line_svg(kLeft, kTop, kLeft, bottom, "stroke=\"#444\"");
  svg += text_svg((kLeft + right) / 2, bottom + 37, chart.x.label, "text-anchor=\"middle\"");
  const double middle = kTop + kPlotHeight / 2;
  svg +=
      text_svg(14, middle, chart.y.label,
               fmt::format("text-anchor=\"middle\" transform=\"rotate(-90 14 {:.1f})\"", middle));
  svg += text_svg((kLeft + right) / 2, 18, chart.title,
                  "text-anchor=\"middle\" font-weight=\"bold\" font-size=\"14\"");
  return svg;
}

std::string series_svg(const ChartSeries& series, const Style& style, const ChartScale& x,
                       const ChartScale& y) {
  std::string path, markers;
  for (const ChartPoint& point : series.points) {
    if (!x.can_show(point.x) || !y.can_show(point.y)) continue;
    const double px = x.place(point.x), py = y.place(point.y);
    path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : " L", px, py);
    if (y.is_outside(point.y)) {
      markers += text_svg(px + 7, py + 4, y.text(point.y),
                          fmt::format("fill=\"{}\" font-size=\"11\"", style.colour));
    }
    if (series.markers || y.is_outside(point.y)) markers += marker_svg(px, py, style);
  }
  return fmt::format("<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\" {}/>", path,
                     style.colour,
                     style.dash.empty() ? std::string()
                                        : fmt::format("stroke-dasharray=\"{}\"", style.dash)) +
         markers;
}

// Entries side by side as far as they fit; `rows` becomes their number.
std::string legend_svg(const Chart& chart, double top, int& rows) {
  constexpr double kSample = 30, kGap = 18;
  std::string svg;
  double x = kLeft - 40;
  rows = 1;
  const auto next = [&](std::string_view name) {
    const double width = kSample + 6 + kLetter * static_cast<double>(name.size());
    if (x > kLeft - 40 && x + width > kWidth - 4) {
      x = kLeft - 40;
      ++rows;
    }
    const double here = x;
    x += width + kGap;
    return here;
  };
  const auto y = [&] { return top + kLegendRow * (rows - 1); };
  for (std::size_t i = 0; i < chart.series.size(); ++i) {
    const Style style = style_of(chart.series[i].style);
    const double here = next(chart.series[i].name);
    svg += line_svg(here, y(), here + kSample, y(),
                    fmt::format("stroke=\"{}\" stroke-width=\"2\" stroke-dasharray=\"{}\"",
                                style.colour, style.dash));
    if (chart.series[i].markers) svg += marker_svg(here + kSample / 2, y(), style);
    svg += text_svg(here + kSample + 6, y() + 4, chart.series[i].name, "");
  }
  for (const ChartReference& reference : chart.references) {
    const double here = next(reference.name);
    svg += line_svg(here, y(), here + kSample, y(),
                    "stroke=\"#555\" stroke-width=\"1.5\" stroke-dasharray=\"5 4\"");
    svg += text_svg(here + kSample + 6, y() + 4, reference.name, "");
  }
  return svg;
}

}  // namespace

std::string chart_svg(const Chart& chart) {
  std::vector<double> xs, ys;
  for (const ChartSeries& series : chart.series) {
    for (const ChartPoint& point : series.points) {
      xs.push_back(point.x);
      ys.push_back(point.y);
    }
  }
  if (xs.empty()) return "";
  for (const ChartReference& reference : chart.references) ys.push_back(reference.y);
  const ChartScale x(chart.x, xs, kLeft, kWidth - kRight);
  const ChartScale y(chart.y, ys, kTop + kPlotHeight, kTop);

  std::string body = axes_svg(chart, x, y);
  for (const ChartReference& reference : chart.references) {
    if (!y.can_show(reference.y)) continue;
    body += line_svg(kLeft, y.place(reference.y), kWidth - kRight, y.place(reference.y),
                     "stroke=\"#555\" stroke-width=\"1.5\" stroke-dasharray=\"5 4\"");
  }
  for (const ChartSeries& series : chart.series) {
    body += series_svg(series, style_of(series.style), x, y);
  }
  int rows = 0;
  const double legend_top = kTop + kPlotHeight + kBelowPlot + 12;
  body += legend_svg(chart, legend_top, rows);
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" "
      "height=\"{1}\" role=\"img\" font-family=\"sans-serif\" font-size=\"12\" "
      "fill=\"#222\"><title>{2}</title>{3}</svg>\n",
      kWidth, legend_top + kLegendRow * rows, escape_html(chart.title), body);
}

std::string escape_html(std::string_view text) {
  std::string safe;
  for (const char c : text) {
    switch (c) {
      case '&': safe += "&amp;"; break;
      case '<': safe += "&lt;"; break;
      case '>': safe += "&gt;"; break;
      case '"': safe += "&quot;"; break;
      case '\'': safe += "&#39;"; break;
      default: safe += c;
    }
  }
  return safe;
}

}  // namespace seer
