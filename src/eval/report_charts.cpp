#include "eval/report_charts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <numeric>
#include <optional>
#include <set>

#include "base/selection_policy.h"
#include "eval/chart.h"

namespace seer {
namespace {

using Value = std::function<std::optional<double>(const EvalSummary&)>;

// Policies much worse than dense would flatten the differences between the others.
constexpr double kMostPerplexity = 1.25;

// The families of all summaries in a fixed order, so that a family looks the same in every chart.
class Families {
 public:
  explicit Families(const std::vector<EvalSummary>& summaries) {
    std::set<std::string> gates;
    for (const EvalSummary& summary : summaries) {
      if (!summary.gates.empty()) gates.insert(summary.gates);
    }
    with_gates_ = gates.size() > 1;
    for (const EvalSummary& summary : summaries) {
      if (summary.policy != "dense") number_.emplace(name(summary), number_.size());
    }
  }

  std::string name(const EvalSummary& summary) const { return policy_family(summary, with_gates_); }
  std::size_t style(const std::string& name) const { return number_.at(name); }

 private:
  bool with_gates_ = false;
  std::map<std::string, std::size_t> number_;
};

std::vector<std::int64_t> contexts_of(const std::vector<EvalSummary>& summaries) {
  std::set<std::int64_t> contexts;
  for (const EvalSummary& summary : summaries) contexts.insert(summary.context);
  return {contexts.begin(), contexts.end()};
}

// What of the summaries with a value for this context is shown: one task alone.
std::vector<EvalSummary> with_value(const std::vector<EvalSummary>& summaries, std::int64_t context,
                                    const Value& value) {
  std::vector<EvalSummary> chosen;
  for (const EvalTask task : {EvalTask::kPerplexity, EvalTask::kRecall, EvalTask::kRetrieval}) {
    for (const EvalSummary& summary : summaries) {
      if (summary.task == task && summary.context == context && value(summary)) {
        chosen.push_back(summary);
      }
    }
    if (!chosen.empty()) break;
  }
  return chosen;
}

// A line for each family over density, and one for dense attention.
std::string density_chart(const std::vector<EvalSummary>& summaries, const Families& families,
                          Chart chart, const Value& value) {
  std::map<std::string, ChartSeries> series;
  for (const EvalSummary& summary : summaries) {
    if (summary.policy == "dense") {
      chart.references.push_back({.name = "dense", .y = *value(summary)});
      continue;
    }
    const std::string name = families.name(summary);
    ChartSeries& line = series[name];
    line.name = name;
    line.style = families.style(name);
    line.points.push_back({.x = summary.density, .y = *value(summary)});
  }
  for (auto& [name, line] : series) {
    std::sort(line.points.begin(), line.points.end(),
              [](const ChartPoint& a, const ChartPoint& b) { return a.x < b.x; });
    chart.series.push_back(std::move(line));
  }
  return chart_svg(chart);
}

// The same for all charts unless a density is lower than usual, so that they can be compared.
ChartAxis density_axis(const std::vector<EvalSummary>& summaries) {
  double least = 0.04;
  for (const EvalSummary& summary : summaries) {
    if (summary.density > 0) least = std::min(least, summary.density / 1.15);
  }
  return {.label = "density: share of the visible blocks that are computed",
          .logarithmic = true,
          .min = least,
          .max = 1.05,
          .percent = false};
}

void add(std::vector<std::string>& charts, std::string chart) {
  if (!chart.empty()) charts.push_back(std::move(chart));
}

std::string perplexity_chart(const std::vector<EvalSummary>& summaries, const Families& families,
                             std::int64_t context) {
  const Value value = [](const EvalSummary& summary) { return summary.perplexity; };
  const std::vector<EvalSummary> chosen = with_value(summaries, context, value);
  ChartAxis y{.label = "perplexity", .logarithmic = false, .min = {}, .max = {}, .percent = false};
  std::optional<double> dense, worst;
  for (const EvalSummary& summary : chosen) {
    if (summary.policy == "dense") dense = summary.perplexity;
    worst = std::max(worst.value_or(0), *summary.perplexity);
  }
  if (dense && *worst > kMostPerplexity * *dense) y.max = kMostPerplexity * *dense;
  return density_chart(chosen, families,
                       {.title = fmt::format("Perplexity, {} tokens", context),
                        .x = density_axis(summaries),
                        .y = y,
                        .series = {},
                        .references = {}},
                       value);
}

std::string share_chart(const std::vector<EvalSummary>& summaries, const Families& families,
                        std::int64_t context, const char* title, const char* label,
                        const Value& value) {
  return density_chart(
      with_value(summaries, context, value), families,
      {.title = fmt::format("{}, {} tokens", title, context),
       .x = density_axis(summaries),
       .y = {.label = label, .logarithmic = false, .min = 0.0, .max = 1.0, .percent = true},
       .series = {},
       .references = {}},
      value);
}

// Layers from left to right.
std::string layer_chart(const std::vector<EvalSummary>& summaries, const Families& families,
                        const std::string& title, const char* label,
                        const std::vector<double> EvalSummary::*values) {
  Chart chart{.title = title,
              .x = {.label = "layer", .logarithmic = false, .min = {}, .max = {}, .percent = false},
              .y = {.label = label, .logarithmic = false, .min = 0.0, .max = {}, .percent = true},
              .series = {},
              .references = {}};
  for (const EvalSummary& summary : summaries) {
    ChartSeries line{.name = summary.policy,
                     .points = {},
                     .markers = true,
                     .style = families.style(families.name(summary))};
    for (std::size_t layer = 0; layer < (summary.*values).size(); ++layer) {
      line.points.push_back({.x = static_cast<double>(layer), .y = (summary.*values)[layer]});
    }
    if (!line.points.empty()) chart.series.push_back(std::move(line));
  }
  return chart_svg(chart);
}

}  // namespace

std::string policy_family(const EvalSummary& summary, bool with_gates) {
  SelectionPolicy policy = SelectionPolicy::parse(summary.policy);
  std::string name =
      fmt::format("{} by {}", policy_source_name(policy.source), policy_rule_name(policy.rule));
  if (policy.sink > 0) name += fmt::format(", sink={}", policy.sink);
  if (policy.local > 0) name += fmt::format(", local={}", policy.local);
  if (policy.dense_rows > 0) name += fmt::format(", dense_rows={}", policy.dense_rows);
  if (policy.start_layer > 0) name += fmt::format(", start_layer={}", policy.start_layer);
  if (with_gates && !summary.gates.empty()) name += " (" + summary.gates + ")";
  return name;
}

std::vector<std::string> quality_charts(const std::vector<EvalSummary>& summaries) {
  const Families families(summaries);
  std::vector<std::string> charts;
  for (const std::int64_t context : contexts_of(summaries)) {
    add(charts, perplexity_chart(summaries, families, context));
    add(charts,
        share_chart(summaries, families, context, "Retrieval", "documents with the right answer",
                    [](const EvalSummary& summary) { return summary.retrieval; }));
    add(charts, share_chart(summaries, families, context, "Attention recall",
                            "attention inside computed blocks",
                            [](const EvalSummary& summary) { return summary.recall; }));
  }
  return charts;
}

std::vector<std::string> time_charts(const std::vector<EvalSummary>& summaries) {
  const Families families(summaries);
  const Value seconds = [](const EvalSummary& summary) {
    return std::optional<double>(summary.seconds);
  };
  std::vector<std::string> charts;
  for (const std::int64_t context : contexts_of(summaries)) {
    add(charts, density_chart(with_value(summaries, context, seconds), families,
                              {.title = fmt::format("Prefill of {} tokens", context),
                               .x = density_axis(summaries),
                               .y = {.label = "seconds (median)",
                                     .logarithmic = false,
                                     .min = 0.0,
                                     .max = {},
                                     .percent = false},
                               .series = {},
                               .references = {}},
                              seconds));
  }
  return charts;
}

std::vector<std::string> layer_charts(const std::vector<EvalSummary>& summaries, double density) {
  if (summaries.empty()) return {};
  const Families families(summaries);
  const std::int64_t context = contexts_of(summaries).back();
  const std::vector<EvalSummary> chosen =
      with_value(summaries, context, [](const EvalSummary&) { return std::optional<double>(0); });
  const auto distance = [&](const EvalSummary& summary) {
    return std::abs(std::log(summary.density / density));
  };
  std::map<std::string, EvalSummary> nearest;
  for (const EvalSummary& summary : chosen) {
    if (summary.policy == "dense") continue;
    const auto [found, is_new] = nearest.emplace(families.name(summary), summary);
    if (!is_new && distance(summary) < distance(found->second)) found->second = summary;
  }
  std::vector<EvalSummary> shown;
  for (auto& [name, summary] : nearest) shown.push_back(std::move(summary));
  const std::string where = fmt::format("of each layer, {} tokens", context);
  std::vector<std::string> charts;
  add(charts,
      layer_chart(shown, families, "Density " + where, "density", &EvalSummary::layer_density));
  add(charts, layer_chart(shown, families, "Attention recall " + where,
                          "attention inside computed blocks", &EvalSummary::layer_recall));
  return charts;
}

std::vector<std::string> training_charts(
    const std::vector<std::pair<std::string, std::vector<TrainingStep>>>& training) {
  Chart loss{.title = "Distillation: loss",
             .x = {.label = "step", .logarithmic = false, .min = 0.0, .max = {}, .percent = false},
             .y = {.label = "loss", .logarithmic = false, .min = {}, .max = {}, .percent = false},
             .series = {},
             .references = {}};
  Chart recall = loss;
  recall.title = "Distillation: recall of the teacher's map";
  recall.y = {
      .label = "mean over layers", .logarithmic = false, .min = {}, .max = {}, .percent = true};
  for (const auto& [name, steps] : training) {
    ChartSeries losses{.name = name, .points = {}, .markers = false, .style = loss.series.size()};
    ChartSeries recalls = losses;
    for (const TrainingStep& step : steps) {
      const auto x = static_cast<double>(step.step);
      losses.points.push_back({.x = x, .y = step.loss});
      if (step.layer_recall.empty()) continue;
      recalls.points.push_back(
          {.x = x,
           .y = std::accumulate(step.layer_recall.begin(), step.layer_recall.end(), 0.0) /
                static_cast<double>(step.layer_recall.size())});
    }
    if (!recalls.points.empty()) recall.series.push_back(std::move(recalls));
    loss.series.push_back(std::move(losses));
  }
  std::vector<std::string> charts;
  add(charts, chart_svg(loss));
  add(charts, chart_svg(recall));
  return charts;
}

}  // namespace seer
