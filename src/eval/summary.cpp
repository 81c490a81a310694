#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>
#include <utility>

#include "seer/eval_results.h"

namespace seer {
namespace {

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

// Mean and spread of what is there.
class Mean {
 public:
  void add(std::optional<double> value) {
    if (value) values_.push_back(*value);
  }
  std::optional<double> value() const {
    if (values_.empty()) return std::nullopt;
    double sum = 0;
    for (const double value : values_) sum += value;
    return sum / static_cast<double>(values_.size());
  }
  // The standard error of value().
  std::optional<double> error() const {
    if (values_.size() < 2) return std::nullopt;
    const double mean = *value();
    double squares = 0;
    for (const double value : values_) squares += (value - mean) * (value - mean);
    const auto count = static_cast<double>(values_.size());
    return std::sqrt(squares / (count - 1) / count);
  }

 private:
  std::vector<double> values_;
};

void add_to(std::vector<double>& sums, const std::vector<double>& values) {
  sums.resize(std::max(sums.size(), values.size()));
  for (std::size_t i = 0; i < values.size(); ++i) sums[i] += values[i];
}

// Numbers for texts in the order of their first appearance.
template <typename Key>
class FirstAppearance {
 public:
  std::size_t operator()(const Key& key) {
    return places_.emplace(key, places_.size()).first->second;
  }

 private:
  std::map<Key, std::size_t> places_;
};

using PolicyName = std::pair<std::string, std::string>;  // text, gates

// What dense attention took: by task, context, sample and run of the program.
using DenseKey = std::tuple<std::string, std::int64_t, std::int64_t, std::string>;
using DenseSeconds = std::map<DenseKey, double>;

DenseKey dense_key(const EvalSample& sample) {
  return {sample.task, sample.context, sample.sample, sample.origin.started};
}

EvalSummary summary_of(const std::vector<const EvalSample*>& samples, const DenseSeconds& dense) {
  const EvalSample& first = *samples.front();
  EvalSummary summary;
  summary.task = first.task;
  summary.metric = first.metric;
  summary.policy = first.policy;
  summary.gates = first.gates;
  summary.context = first.context;
  summary.samples = static_cast<std::int64_t>(samples.size());
  Mean nll, score, answer_tokens, recall, density;
  std::vector<double> seconds, decode_seconds, ratios;
  double with_heads = 0;
  for (const EvalSample* const sample : samples) {
    nll.add(sample->nll);
    score.add(sample->score);
    answer_tokens.add(sample->answer_tokens);
    recall.add(sample->recall);
    density.add(sample->density);
    add_to(summary.layer_density, sample->layer_density);
    add_to(summary.layer_recall, sample->layer_recall);
    if (!sample->head_density.empty()) {
      ++with_heads;
      summary.head_density.resize(sample->head_density.size());
      for (std::size_t i = 0; i < sample->head_density.size(); ++i) {
        add_to(summary.head_density[i], sample->head_density[i]);
      }
    }
    seconds.push_back(sample->seconds);
    decode_seconds.push_back(sample->decode_seconds);
    summary.peak_memory = std::max(summary.peak_memory, sample->peak_memory);
    const auto found = dense.find(dense_key(*sample));
    if (found != dense.end()) ratios.push_back(found->second / sample->seconds);
  }
  if (nll.value()) {
    summary.score = std::exp(*nll.value());
    // exp's derivative is itself.
    if (nll.error()) summary.standard_error = *nll.error() * *summary.score;
  } else {
    summary.score = score.value();
    summary.standard_error = score.error();
  }
  summary.answer_tokens = answer_tokens.value();
  summary.recall = recall.value();
  summary.density = density.value().value_or(1.0);
  for (double& value : summary.layer_density) value /= static_cast<double>(samples.size());
  for (double& value : summary.layer_recall) value /= static_cast<double>(samples.size());
  for (std::vector<double>& heads : summary.head_density) {
    for (double& value : heads) value /= with_heads;
  }
  summary.seconds = median(seconds);
  summary.decode_seconds = median(decode_seconds);
  if (!ratios.empty()) summary.speedup = median(ratios);
  return summary;
}

// The mean of summaries of one family, context and policy.
EvalSummary mean_of(const std::string& family, const std::vector<const EvalSummary*>& parts) {
  EvalSummary mean;
  mean.task = family + "/mean";
  mean.metric = "mean";
  mean.policy = parts.front()->policy;
  mean.gates = parts.front()->gates;
  mean.context = parts.front()->context;
  Mean score, recall, density, seconds, decode_seconds;
  double variance = 0;
  bool has_errors = true;
  std::vector<double> speedups;
  for (const EvalSummary* const part : parts) {
    mean.samples += part->samples;
    score.add(part->score);
    recall.add(part->recall);
    density.add(part->density);
    seconds.add(part->seconds);
    decode_seconds.add(part->decode_seconds);
    has_errors = has_errors && part->standard_error;
    variance += std::pow(part->standard_error.value_or(0), 2);
    if (part->speedup) speedups.push_back(*part->speedup);
    mean.peak_memory = std::max(mean.peak_memory, part->peak_memory);
  }
  mean.score = score.value();
  if (has_errors) mean.standard_error = std::sqrt(variance) / static_cast<double>(parts.size());
  mean.recall = recall.value();
  mean.density = density.value().value_or(1.0);
  mean.seconds = seconds.value().value_or(0);
  mean.decode_seconds = decode_seconds.value().value_or(0);
  if (!speedups.empty()) mean.speedup = median(speedups);
  return mean;
}

}  // namespace

std::vector<EvalSummary> summarise(const std::vector<EvalSample>& samples, SummaryParts parts) {
  DenseSeconds dense;
  FirstAppearance<std::string> task_place;
  FirstAppearance<PolicyName> policy_place;
  using Group = std::tuple<std::size_t, std::int64_t, std::string, std::size_t>;
  std::map<Group, std::vector<const EvalSample*>> groups;
  for (const EvalSample& sample : samples) {
    if (sample.policy == "dense") dense[dense_key(sample)] = sample.seconds;
    if (parts == SummaryParts::kSubsets && sample.subset.empty()) continue;
    const std::string subset = parts == SummaryParts::kSubsets ? sample.subset : "";
    groups[{task_place(sample.task), sample.context, subset,
            policy_place({sample.policy, sample.gates})}]
        .push_back(&sample);
  }
  std::vector<EvalSummary> summaries;
  for (const auto& [key, group] : groups) {
    summaries.push_back(summary_of(group, dense));
    summaries.back().subset = std::get<2>(key);
  }
  return summaries;
}

std::vector<EvalSummary> family_means(const std::vector<EvalSummary>& summaries) {
  struct Family {
    std::string name;
    std::map<std::string, int> tasks;
    std::map<std::pair<std::int64_t, std::size_t>, std::vector<const EvalSummary*>> groups;
  };
  std::vector<Family> families;
  FirstAppearance<std::string> family_place;
  FirstAppearance<PolicyName> policy_place;
  for (const EvalSummary& summary : summaries) {
    const std::size_t slash = summary.task.find('/');
    if (slash == std::string::npos || !summary.score || !summary.subset.empty()) continue;
    const std::string name = summary.task.substr(0, slash);
    const std::size_t place = family_place(name);
    if (place == families.size()) families.push_back({.name = name, .tasks = {}, .groups = {}});
    Family& family = families[place];
    ++family.tasks[summary.task];
    const std::size_t policy = policy_place({summary.policy, summary.gates});
    family.groups[{summary.context, policy}].push_back(&summary);
  }
  std::vector<EvalSummary> means;
  for (const Family& family : families) {
    if (family.tasks.size() < 2) continue;
    for (const auto& [key, group] : family.groups) {
      if (group.size() == family.tasks.size()) means.push_back(mean_of(family.name, group));
    }
  }
  return means;
}

std::vector<EvalSummary> summarise_with_means(const std::vector<EvalSample>& samples) {
  std::vector<EvalSummary> summaries = summarise(samples);
  for (EvalSummary& mean : family_means(summaries)) summaries.push_back(std::move(mean));
  return summaries;
}

std::vector<DepthScore> depth_scores(const std::vector<EvalSample>& samples) {
  FirstAppearance<std::string> task_place;
  FirstAppearance<PolicyName> policy_place;
  using Group = std::tuple<std::size_t, std::size_t, std::int64_t, double>;
  std::map<Group, DepthScore> groups;
  for (const EvalSample& sample : samples) {
    if (!sample.depth || !sample.score) continue;
    DepthScore& group =
        groups[{task_place(sample.task), policy_place({sample.policy, sample.gates}),
                sample.context, *sample.depth}];
    group.task = sample.task;
    group.policy = sample.policy;
    group.gates = sample.gates;
    group.context = sample.context;
    group.depth = *sample.depth;
    group.score += *sample.score;
    ++group.samples;
  }
  std::vector<DepthScore> scores;
  for (auto& [key, group] : groups) {
    group.score /= static_cast<double>(group.samples);
    scores.push_back(group);
  }
  return scores;
}

}  // namespace seer
