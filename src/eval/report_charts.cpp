#include "eval/report_charts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <tuple>

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

// Tasks in the order of their first appearance.
std::vector<std::string> tasks_of(const std::vector<EvalSummary>& summaries) {
  std::vector<std::string> tasks;
  for (const EvalSummary& summary : summaries) {
    if (std::find(tasks.begin(), tasks.end(), summary.task) == tasks.end()) {
      tasks.push_back(summary.task);
    }
  }
  return tasks;
}

std::vector<EvalSummary> of_task(const std::vector<EvalSummary>& summaries, std::string_view task,
                                 std::int64_t context, const Value& value) {
  std::vector<EvalSummary> chosen;
  for (const EvalSummary& summary : summaries) {
    if (summary.task == task && summary.context == context && value(summary)) {
      chosen.push_back(summary);
    }
  }
  return chosen;
}

// What does not depend on the task is shown of one that has it: of text, if there is one.
std::vector<EvalSummary> of_any_task(const std::vector<EvalSummary>& summaries,
                                     std::int64_t context, const Value& value) {
  std::vector<std::string> tasks = {"ppl", "recall"};
  for (std::string& task : tasks_of(summaries)) tasks.push_back(std::move(task));
  for (const std::string& task : tasks) {
    std::vector<EvalSummary> chosen = of_task(summaries, task, context, value);
    if (!chosen.empty()) return chosen;
  }
  return {};
}

// A line for each family over density, and one for dense attention.
Figure density_chart(const std::vector<EvalSummary>& summaries, const Families& families,
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
  return chart_figure(chart);
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

void add(Figures& charts, Figure chart) {
  if (!chart.svg.empty()) charts.push_back(std::move(chart));
}

std::optional<double> score_of(const EvalSummary& summary) {
  return summary.score;
}

Figure perplexity_chart(const std::vector<EvalSummary>& summaries, const Families& families,
                        const std::string& task, std::int64_t context) {
  const std::vector<EvalSummary> chosen = of_task(summaries, task, context, score_of);
  ChartAxis y{.label = "perplexity", .logarithmic = false, .min = {}, .max = {}, .percent = false};
  std::optional<double> dense, worst;
  for (const EvalSummary& summary : chosen) {
    if (summary.policy == "dense") dense = summary.score;
    worst = std::max(worst.value_or(0), *summary.score);
  }
  if (dense && *worst > kMostPerplexity * *dense) y.max = kMostPerplexity * *dense;
  const std::string what = task == "ppl" ? "Perplexity" : "Perplexity (" + task + ")";
  return density_chart(chosen, families,
                       {.title = fmt::format("{}, {} tokens", what, context),
                        .x = density_axis(summaries),
                        .y = y,
                        .series = {},
                        .references = {}},
                       score_of);
}

Figure share_chart(const std::vector<EvalSummary>& chosen, const ChartAxis& density,
                   const Families& families, std::int64_t context, const std::string& title,
                   const std::string& label, const Value& value) {
  return density_chart(
      chosen, families,
      {.title = fmt::format("{}, {} tokens", title, context),
       .x = density,
       .y = {.label = label, .logarithmic = false, .min = 0.0, .max = 1.0, .percent = true},
       .series = {},
       .references = {}},
      value);
}

Figure score_chart(const std::vector<EvalSummary>& summaries, const Families& families,
                   const std::string& task, std::int64_t context) {
  const std::vector<EvalSummary> chosen = of_task(summaries, task, context, score_of);
  if (chosen.empty()) return {};
  if (chosen.front().metric == "perplexity") {
    return perplexity_chart(summaries, families, task, context);
  }
  const bool is_niah = task == "niah";
  return share_chart(chosen, density_axis(summaries), families, context,
                     is_niah ? "Retrieval" : task,
                     is_niah ? "documents with the right answer" : chosen.front().metric, score_of);
}

// Layers from left to right.
Figure layer_chart(const std::vector<EvalSummary>& summaries, const Families& families,
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
  return chart_figure(chart);
}

// Whether heads keep different shares of the blocks: not where a rule gives each row as many.
bool heads_differ(const EvalSummary& summary) {
  double least = 1, most = 0;
  for (const std::vector<double>& heads : summary.head_density) {
    for (const double density : heads) {
      least = std::min(least, density);
      most = std::max(most, density);
    }
  }
  return most - least > 0.01 * most;
}

// Density of each layer (down) and query head (to the right).
Figure head_map(const EvalSummary& summary) {
  HeatMap map{.title = fmt::format("Density, %: {}", summary.policy),
              .row_label = "layer",
              .column_label = fmt::format("query head, {} tokens", summary.context),
              .rows = {},
              .columns = {},
              .values = {},
              .most = 0};
  for (std::size_t layer = 0; layer < summary.head_density.size(); ++layer) {
    map.rows.push_back(std::to_string(layer));
    map.values.emplace_back();
    for (const double density : summary.head_density[layer]) {
      map.values.back().emplace_back(density);
      map.most = std::max(map.most, density);
    }
    for (std::size_t head = map.columns.size(); head < map.values.back().size(); ++head) {
      map.columns.push_back(std::to_string(head));
    }
  }
  for (auto& row : map.values) row.resize(map.columns.size());
  return heat_map_figure(map);
}

// Rows of a grid of depths; more are put together.
constexpr std::size_t kMostRows = 21;

std::set<double> depths_of(const std::vector<DepthScore>& scores) {
  std::set<double> depths;
  for (const DepthScore& score : scores) depths.insert(score.depth);
  return depths;
}

// Of one task and policy.
Figure depth_map(const std::vector<DepthScore>& scores) {
  std::set<std::int64_t> contexts;
  for (const DepthScore& score : scores) contexts.insert(score.context);
  const bool by_tenths = depths_of(scores).size() > kMostRows;
  const auto row_of = [&](double depth) {
    return by_tenths ? std::min(std::floor(depth * 10) / 10, 0.9) : depth;
  };
  struct Cell {
    double sum = 0, samples = 0;
  };
  std::map<double, std::map<std::int64_t, Cell>> cells;
  for (const DepthScore& score : scores) {
    Cell& cell = cells[row_of(score.depth)][score.context];
    cell.sum += score.score * static_cast<double>(score.samples);
    cell.samples += static_cast<double>(score.samples);
  }
  const DepthScore& first = scores.front();
  HeatMap map{.title = fmt::format(
                  "{}, %: {}", first.task == "niah-grid" ? "Retrieval" : first.task, first.policy),
              .row_label = "depth of the needle, %",
              .column_label = "length of the text, tokens",
              .rows = {},
              .columns = {},
              .values = {}};
  for (const std::int64_t context : contexts) map.columns.push_back(std::to_string(context));
  for (const auto& [depth, row] : cells) {
    map.rows.push_back(by_tenths ? fmt::format("{:.0f}-{:.0f}", depth * 100, depth * 100 + 10)
                                 : fmt::format("{:.0f}", depth * 100));
    map.values.emplace_back();
    for (const std::int64_t context : contexts) {
      const auto found = row.find(context);
      map.values.back().push_back(
          found == row.end() ? std::nullopt
                             : std::optional<double>(found->second.sum / found->second.samples));
    }
  }
  return heat_map_figure(map);
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

Figures quality_charts(const std::vector<EvalSummary>& summaries) {
  const Families families(summaries);
  const Value recall = [](const EvalSummary& summary) { return summary.recall; };
  Figures charts;
  for (const std::int64_t context : contexts_of(summaries)) {
    for (const std::string& task : tasks_of(summaries)) {
      add(charts, score_chart(summaries, families, task, context));
    }
    add(charts,
        share_chart(of_any_task(summaries, context, recall), density_axis(summaries), families,
                    context, "Attention recall", "attention inside computed blocks", recall));
  }
  return charts;
}

Figures time_charts(const std::vector<EvalSummary>& summaries) {
  const Families families(summaries);
  const Value seconds = [](const EvalSummary& summary) {
    return std::optional<double>(summary.seconds);
  };
  Figures charts;
  for (const std::int64_t context : contexts_of(summaries)) {
    add(charts, density_chart(of_any_task(summaries, context, seconds), families,
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

Figures layer_charts(const std::vector<EvalSummary>& summaries, double density) {
  if (summaries.empty()) return {};
  const Families families(summaries);
  const std::int64_t context = contexts_of(summaries).back();
  const std::vector<EvalSummary> chosen =
      of_any_task(summaries, context, [](const EvalSummary&) { return std::optional<double>(0); });
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
  Figures charts;
  add(charts,
      layer_chart(shown, families, "Density " + where, "density", &EvalSummary::layer_density));
  add(charts, layer_chart(shown, families, "Attention recall " + where,
                          "attention inside computed blocks", &EvalSummary::layer_recall));
  for (const EvalSummary& summary : shown) {
    if (heads_differ(summary)) add(charts, head_map(summary));
  }
  return charts;
}

Figures depth_maps(const std::vector<DepthScore>& scores) {
  Figures maps;
  std::map<std::tuple<std::string, std::string, std::string>, std::vector<DepthScore>> groups;
  std::vector<std::tuple<std::string, std::string, std::string>> order;
  for (const DepthScore& score : scores) {
    const auto key = std::tuple(score.task, score.policy, score.gates);
    std::vector<DepthScore>& group = groups[key];
    if (group.empty()) order.push_back(key);
    group.push_back(score);
  }
  // Needles at random depths fill no grid: shown only where there is no better one.
  const auto is_grid = [&](const auto& key) {
    return depths_of(groups.at(key)).size() <= kMostRows;
  };
  const bool has_grid = std::any_of(order.begin(), order.end(), is_grid);
  for (const auto& key : order) {
    if (!has_grid || is_grid(key)) add(maps, depth_map(groups.at(key)));
  }
  return maps;
}

Figures training_charts(
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
  Figures charts;
  add(charts, chart_figure(loss));
  add(charts, chart_figure(recall));
  return charts;
}

}  // namespace seer
