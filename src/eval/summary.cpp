#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "seer/eval.h"

namespace seer {
namespace {

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

// Mean of what is there.
class Mean {
 public:
  void add(std::optional<double> value) {
    if (!value) return;
    sum_ += *value;
    ++count_;
  }
  std::optional<double> value() const {
    if (count_ == 0) return std::nullopt;
    return sum_ / count_;
  }

 private:
  double sum_ = 0;
  int count_ = 0;
};

void add_to(std::vector<double>& sums, const std::vector<double>& values) {
  sums.resize(std::max(sums.size(), values.size()));
  for (std::size_t i = 0; i < values.size(); ++i) sums[i] += values[i];
}

// What dense attention took: by task, context, sample and run of the program.
using DenseKey = std::tuple<EvalTask, std::int64_t, std::int64_t, std::string>;
using DenseSeconds = std::map<DenseKey, double>;

DenseKey dense_key(const EvalSample& sample) {
  return {sample.task, sample.context, sample.sample, sample.origin.started};
}

EvalSummary summary_of(const std::vector<const EvalSample*>& samples, const DenseSeconds& dense) {
  const EvalSample& first = *samples.front();
  EvalSummary summary;
  summary.task = first.task;
  summary.policy = first.policy;
  summary.gates = first.gates;
  summary.context = first.context;
  summary.samples = static_cast<std::int64_t>(samples.size());
  Mean nll, retrieval, answer_tokens, recall, density;
  std::vector<double> seconds, ratios;
  for (const EvalSample* const sample : samples) {
    nll.add(sample->nll);
    if (sample->retrieved) retrieval.add(*sample->retrieved ? 1 : 0);
    answer_tokens.add(sample->answer_tokens);
    recall.add(sample->recall);
    density.add(sample->density);
    add_to(summary.layer_density, sample->layer_density);
    add_to(summary.layer_recall, sample->layer_recall);
    seconds.push_back(sample->seconds);
    const auto found = dense.find(dense_key(*sample));
    if (found != dense.end()) ratios.push_back(found->second / sample->seconds);
  }
  if (nll.value()) summary.perplexity = std::exp(*nll.value());
  summary.retrieval = retrieval.value();
  summary.answer_tokens = answer_tokens.value();
  summary.recall = recall.value();
  summary.density = density.value().value_or(1.0);
  for (double& value : summary.layer_density) value /= static_cast<double>(samples.size());
  for (double& value : summary.layer_recall) value /= static_cast<double>(samples.size());
  summary.seconds = median(seconds);
  if (!ratios.empty()) summary.speedup = median(ratios);
  return summary;
}

std::string cell(std::optional<double> value, double scale, int digits) {
  return value ? fmt::format("{:.{}f}", *value * scale, digits) : "";
}

}  // namespace

std::vector<EvalSummary> summarise(const std::vector<EvalSample>& samples) {
  DenseSeconds dense;
  std::map<std::pair<std::string, std::string>, std::size_t> order;  // of policies
  using Group = std::tuple<EvalTask, std::int64_t, std::size_t>;
  std::map<Group, std::vector<const EvalSample*>> groups;
  for (const EvalSample& sample : samples) {
    if (sample.policy == "dense") dense[dense_key(sample)] = sample.seconds;
    const std::size_t place =
        order.emplace(std::pair(sample.policy, sample.gates), order.size()).first->second;
    groups[{sample.task, sample.context, place}].push_back(&sample);
  }
  std::vector<EvalSummary> summaries;
  for (const auto& [key, group] : groups) summaries.push_back(summary_of(group, dense));
  return summaries;
}

std::string eval_table(const std::vector<EvalSummary>& summaries) {
  std::size_t width = 6;
  for (const EvalSummary& summary : summaries) width = std::max(width, summary.policy.size());
  std::string table =
      fmt::format("{:6} {:>7} {:{}} {:>7} {:>10} {:>9} {:>7} {:>7} {:>7} {:>9} {:>7}\n", "task",
                  "context", "policy", width, "samples", "perplexity", "retrieval", "tokens",
                  "density", "recall", "seconds", "speed");
  for (const EvalSummary& summary : summaries) {
    std::string line =
        fmt::format("{:6} {:>7} {:{}} {:>7} {:>10} {:>9} {:>7} {:>7.4f} {:>7} {:>9.3f} {:>7}\n",
                    eval_task_name(summary.task), summary.context, summary.policy, width,
                    summary.samples, cell(summary.perplexity, 1, 3),
                    summary.retrieval ? cell(summary.retrieval, 100, 0) + " %" : "",
                    summary.answer_tokens ? cell(summary.answer_tokens, 100, 1) + "%" : "",
                    summary.density, cell(summary.recall, 1, 4), summary.seconds,
                    summary.speedup ? cell(summary.speedup, 1, 2) + "x" : "");
    table += line;
  }
  return table;
}

}  // namespace seer
