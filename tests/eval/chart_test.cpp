// Axes and charts.
#include "eval/chart.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "eval/chart_scale.h"

namespace seer {
namespace {

ChartAxis axis(bool logarithmic = false) {
  return {.label = "x", .logarithmic = logarithmic, .min = {}, .max = {}, .percent = false};
}

TEST(ChartScale, LinearTicksAreRound) {
  const ChartScale scale(axis(), {64.2, 69.9}, 0, 100);
  EXPECT_EQ(scale.ticks(), (std::vector<double>{64, 65, 66, 67, 68, 69, 70}));
  EXPECT_DOUBLE_EQ(scale.place(64), 0);
  EXPECT_DOUBLE_EQ(scale.place(67), 50);
  EXPECT_FALSE(scale.is_outside(69.9));
  EXPECT_EQ(ChartScale(axis(), {-1, 1}, 0, 1).text(-0.0), "0");
}

TEST(ChartScale, LogarithmicTicks) {
  const ChartScale scale(axis(true), {0.05, 1}, 0, 100);
  EXPECT_EQ(scale.ticks().size(), 5U);  // 0.05 0.1 0.2 0.5 1
  EXPECT_NEAR(scale.place(std::sqrt(0.05)), 50, 1e-9);
  EXPECT_FALSE(scale.can_show(0));
}

TEST(ChartScale, OneValueAndNone) {
  for (const std::vector<double>& values :
       {std::vector<double>{}, std::vector<double>{5}, std::vector<double>{0}}) {
    for (const bool logarithmic : {false, true}) {
      const ChartScale scale(axis(logarithmic), values, 0, 100);
      const double place = scale.place(5);
      EXPECT_TRUE(std::isfinite(place));
      EXPECT_GE(place, 0);
      EXPECT_LE(place, 100);
    }
  }
}

TEST(ChartScale, FixedEndAndPercent) {
  ChartAxis y = axis();
  y.max = 81.0;
  const ChartScale scale(y, {65, 94}, 0, 100);
  EXPECT_TRUE(scale.is_outside(94));
  EXPECT_DOUBLE_EQ(scale.place(94), 100);
  y.percent = true;
  EXPECT_EQ(ChartScale(y, {0, 1}, 0, 1).text(0.25), "25 %");
}

TEST(Chart, HoldsWhatItIsGiven) {
  Chart chart;
  chart.title = "A < B";
  chart.x = axis(true);
  chart.y = axis();
  chart.y.label = "perplexity & more";
  chart.series.push_back({.name = "gate \"a\"", .points = {{0.1, 65}, {0.2, 64.5}}, .style = 0});
  chart.series.push_back({.name = "bad",
                          .points = {{0.0, 1}, {0.1, std::numeric_limits<double>::quiet_NaN()}},
                          .style = 9});
  chart.references.push_back({.name = "dense", .y = 64});
  const std::string svg = chart_svg(chart);
  for (const char* const word : {"A &lt; B", "perplexity &amp; more", "gate &quot;a&quot;", "dense",
                                 "<svg", "</svg>", "stroke-dasharray"}) {
    EXPECT_NE(svg.find(word), std::string::npos) << word;
  }
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_EQ(svg.find("inf"), std::string::npos);
}

TEST(Chart, WithoutPointsIsNothing) {
  Chart chart;
  EXPECT_EQ(chart_svg(chart), "");
  chart.series.push_back({.name = "empty", .points = {}});
  EXPECT_EQ(chart_svg(chart), "");
}

}  // namespace
}  // namespace seer
