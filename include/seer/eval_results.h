// Result files of evaluations, and what their samples say together.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "seer/eval.h"

namespace seer {

// A file of samples, one JSON object a line, each of which is on the disk once append() returned.
class EvalFile {
 public:
  // `resume` false: a new file. `resume` true: goes on with what is there, if anything; a last line without an end is
  // dropped. Throws std::runtime_error naming the file: it exists already, cannot be written, another program is writing
  // it, a line is no sample, or a sample of one of the tasks was got with another configuration.
  EvalFile(std::filesystem::path file, bool resume, const EvalConfigurations& configurations);
  ~EvalFile();
  EvalFile(const EvalFile&) = delete;
  EvalFile& operator=(const EvalFile&) = delete;

  const std::vector<EvalSample>& samples() const { return samples_; }  // those that were there
  void append(const EvalSample& sample);

 private:
  std::filesystem::path file_;
  std::vector<EvalSample> samples_;
  int descriptor_ = -1;
};

// The samples of a result file, without a last line that has no end. Throws std::runtime_error.
std::vector<EvalSample> read_eval_file(const std::filesystem::path& file);

// The samples of one task, context and policy.
struct EvalSummary {
  std::string task, metric, subset;  // subset: empty where samples of all subsets are together
  std::string policy, gates;
  std::int64_t context = 0;
  std::int64_t samples = 0;
  // exp of the mean nll for the metric "perplexity", lower is better; for others the mean of the scores, 0 to 1. None for
  // "recall".
  std::optional<double> score;
  // Of `score`, from the spread of the samples (for perplexity carried over by its derivative); none for one sample.
  std::optional<double> standard_error;
  std::optional<double> answer_tokens, recall;
  double density = 0;
  std::vector<double> layer_density, layer_recall;
  std::vector<std::vector<double>>
      head_density;           // [layers][query heads], of the samples that have it
  double seconds = 0;         // median
  double decode_seconds = 0;  // median
  // Median over samples of dense seconds / seconds, where both were measured in the same run of the program.
  std::optional<double> speedup;
  std::uint64_t peak_memory = 0;  // bytes, the most of all samples; 0: not known
};

enum class SummaryParts {
  kTasks,    // one summary for each task, context and policy
  kSubsets,  // samples of a task that have a subset are kept apart by it; others are left out
};

// In the order of first appearance of the task, then by context, subset, and first appearance of the policy.
std::vector<EvalSummary> summarise(const std::vector<EvalSample>& samples,
                                   SummaryParts parts = SummaryParts::kTasks);

// For each family of tasks ("ruler", "longbench") with several tasks in `summaries`, and each context and policy that has
// all of them: the mean of their scores, as the task "ruler/mean" with the metric "mean". Its standard error takes the tasks
// as independent.
std::vector<EvalSummary> family_means(const std::vector<EvalSummary>& summaries);

// summarise() of all tasks, and family_means() of these behind them.
std::vector<EvalSummary> summarise_with_means(const std::vector<EvalSample>& samples);

// A table for people, each line with its end.
std::string eval_table(const std::vector<EvalSummary>& summaries);
// The same figures for programs: a header and a line each, RFC 4180, shares as numbers from 0 to 1.
std::string eval_csv(const std::vector<EvalSummary>& summaries);

// Scores of one task, policy and context at a depth.
struct DepthScore {
  std::string task, policy, gates;
  std::int64_t context = 0;
  double depth = 0;  // EvalPrompt::depth
  double score = 0;  // mean
  std::int64_t samples = 0;
};

// Of the samples that have a depth and a score, in the order of task, policy (first appearance), context, depth.
std::vector<DepthScore> depth_scores(const std::vector<EvalSample>& samples);

}  // namespace seer
