// How good a model is under policies: scores of evaluation tasks (seer/eval_task.h), and the share of attention that a
// policy keeps. Each figure comes with the density, seconds and memory that it was got at. docs/evaluation.md has the
// protocols.
//
// Recall of a sample: the share of the true softmax probability that falls into kept blocks, mean over layers, heads and
// random query rows of the last three quarters of the sample.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "seer/eval_task.h"
#include "seer/gate.h"
#include "seer/model.h"

namespace seer {

// "<folder's name>@<hash of the weights>": which gates a result was got with.
std::string gates_label(const GateSet& gates, const std::filesystem::path& folder);

// A task at these lengths.
struct EvalRequest {
  std::shared_ptr<const EvalTask> task;
  std::vector<std::int64_t> contexts = {8192};  // tokens
};

struct EvalOptions {
  std::vector<std::string> policies = {"dense"};  // text, as in seer/sparse_attention.h
  bool measure_recall = true;                     // its time is not in the samples' seconds
  std::int64_t block_size = 64;                   // of policies without gates
  std::int64_t min_context = 0;                   // below it every policy is dense
  std::optional<std::int64_t> prefill_chunk;      // as in ScoreOptions
  std::uint64_t seed = 0;                         // of recall's rows and the policy `random`
};

// Where and with what a sample was computed; what the caller knows of it.
struct EvalOrigin {
  std::string version, commit, cpu, isa, torch;
  int threads = 0;
  std::string started;  // when this run of the program began
};

// One sample under one policy: a line of a result file.
struct EvalSample {
  std::string task;    // EvalTask::name()
  std::string metric;  // EvalTask::metric()
  std::string policy;  // canonical text
  std::string gates;   // gates_label() for gate policies, else empty
  std::int64_t context = 0;
  std::int64_t sample = 0;              // from 0
  std::string subset;                   // EvalPrompt::subset
  std::optional<double> depth;          // EvalPrompt::depth
  std::optional<double> nll;            // likelihood: natural, mean over the predictions that count
  std::optional<double> score;          // otherwise, where there is one: 0 to 1
  std::optional<double> answer_tokens;  // forced answer: share of its tokens that are right
  // Generation: what came out, what would have been right, and how many tokens came.
  std::string prediction;
  std::vector<std::string> references;
  std::int64_t generated_tokens = 0;
  std::int64_t prompt_tokens = 0;
  double density = 1;  // of the prompt
  std::vector<double> layer_density;
  std::vector<std::vector<double>>
      head_density;  // [layers][query heads]; empty where recall was not measured
  std::optional<double> recall;
  std::vector<double> layer_recall;
  // Of the prompt: everything up to the final norm, with generation up to the first new token; and the parts of it on
  // scores and selection, and in attention (0 where they are not known: dense attention).
  double seconds = 0, selection_seconds = 0, attention_seconds = 0;
  double decode_seconds = 0;      // from the first new token to the last
  std::uint64_t peak_memory = 0;  // bytes, as seer::peak_memory() has them; 0: not known
  std::string configuration;      // JSON: what the score depends on besides the fields above
  EvalOrigin origin;

  double tokens_per_second() const { return static_cast<double>(prompt_tokens) / seconds; }
  // One object of JSON, without the line's end.
  std::string to_json() const;
  // What to_json() wrote, or an earlier version of it. Throws std::runtime_error that begins with `source` and names the
  // field.
  static EvalSample parse(std::string_view json, const std::string& source);
  // Whether both are the same measurement, that is task, policy, gates, context and sample are equal.
  bool is_same(const EvalSample& other) const;
};

struct EvalProgress {
  std::int64_t done = 0;  // samples, those of earlier runs included
  std::int64_t total = 0;
  double seconds_left = 0;  // estimated from what was done in this run; 0 at its start
};

struct EvalCallbacks {
  std::function<void(const EvalSample&)> on_sample;
  std::function<void(const EvalProgress&)> on_progress;  // at the start and after each sample
  std::function<void()> between_chunks;                  // may throw, to give up
};

// By EvalTask::name(): JSON.
using EvalConfigurations = std::map<std::string, std::string>;

// A model with all that an evaluation needs. Everything is checked at construction.
class Evaluator {
 public:
  // `model`, `tokenizer` and `gates` must outlive the object. `gates` may be null where no policy needs them, `tokenizer`
  // where nothing is generated. `gates_name` says which they are. Throws std::invalid_argument naming the option, its value
  // and what is accepted; also what EvalTask::samples() throws.
  Evaluator(const Model& model, const Tokenizer* tokenizer, const GateSet* gates,
            const std::string& gates_name, const std::vector<EvalRequest>& requests,
            EvalOptions options, EvalOrigin origin = {});
  ~Evaluator();
  Evaluator(const Evaluator&) = delete;
  Evaluator& operator=(const Evaluator&) = delete;

  // By task, JSON, the same for samples that may be put together.
  const EvalConfigurations& configurations() const;

  // Measures every sample that is not in `done`, task by task, each sample under all policies before the next one, so that
  // their times were taken side by side.
  void run(const std::vector<EvalSample>& done, const EvalCallbacks& callbacks);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace seer
