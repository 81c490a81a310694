#include <fmt/format.h>

#include <algorithm>

#include "eval/figure.h"
#include "seer/eval_results.h"

namespace seer {
namespace {

std::string cell(std::optional<double> value, double scale, int digits, const char* unit = "") {
  return value ? fmt::format("{:.{}f}{}", *value * scale, digits, unit) : "";
}

bool is_perplexity(const EvalSummary& summary) {
  return summary.metric == "perplexity";
}

std::string score_cell(const EvalSummary& summary) {
  if (!summary.score) return "";
  const bool in_percent = !is_perplexity(summary);
  const double scale = in_percent ? 100 : 1;
  const int digits = in_percent ? 1 : 3;
  std::string text = cell(summary.score, scale, digits);
  if (summary.standard_error) {
    text += fmt::format(" +-{:.{}f}", *summary.standard_error * scale, in_percent ? 1 : 2);
  }
  return in_percent ? text + " %" : text;
}

std::string csv_number(std::optional<double> value) {
  return value ? fmt::format("{}", *value) : "";
}

}  // namespace

std::string eval_table(const std::vector<EvalSummary>& summaries) {
  std::size_t task = 4, policy = 6, metric = 6, score = 5;
  for (const EvalSummary& summary : summaries) {
    task = std::max(task, summary.task.size());
    policy = std::max(policy, summary.policy.size());
    metric = std::max(metric, summary.metric.size());
    score = std::max(score, score_cell(summary).size());
  }
  std::string table =
      fmt::format("{:{}} {:>7} {:{}} {:>7} {:{}} {:>{}} {:>7} {:>7} {:>7} {:>9} {:>7} {:>9}\n",
                  "task", task, "context", "policy", policy, "samples", "metric", metric, "score",
                  score, "tokens", "density", "recall", "seconds", "speed", "memory");
  for (const EvalSummary& summary : summaries) {
    table += fmt::format(
        "{:{}} {:>7} {:{}} {:>7} {:{}} {:>{}} {:>7} {:>7.4f} {:>7} {:>9.3f} {:>7} {:>9}\n",
        summary.task, task, summary.context, summary.policy, policy, summary.samples,
        summary.metric, metric, score_cell(summary), score,
        cell(summary.answer_tokens, 100, 1, "%"), summary.density, cell(summary.recall, 1, 4),
        summary.seconds, cell(summary.speedup, 1, 2, "x"),
        summary.peak_memory > 0
            ? fmt::format("{:.0f} MiB", static_cast<double>(summary.peak_memory) / (1 << 20))
            : "");
  }
  return table;
}

std::string eval_csv(const std::vector<EvalSummary>& summaries) {
  std::string csv =
      "task,metric,subset,context,policy,gates,samples,score,standard_error,answer_tokens,recall,"
      "density,seconds,decode_seconds,speedup,peak_memory\n";
  for (const EvalSummary& summary : summaries) {
    csv +=
        fmt::format("{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}\n", csv_text(summary.task),
                    csv_text(summary.metric), csv_text(summary.subset), summary.context,
                    csv_text(summary.policy), csv_text(summary.gates), summary.samples,
                    csv_number(summary.score), csv_number(summary.standard_error),
                    csv_number(summary.answer_tokens), csv_number(summary.recall), summary.density,
                    summary.seconds, summary.decode_seconds, csv_number(summary.speedup),
                    summary.peak_memory > 0 ? std::to_string(summary.peak_memory) : "");
  }
  return csv;
}

}  // namespace seer
