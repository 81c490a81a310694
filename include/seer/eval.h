// How good a model is under policies: perplexity, retrieval, and the share of attention that a policy keeps. Each figure
// comes with the density and the seconds that it was got at.
//
// Protocols, with S the context (tokens) and the text one stream of N tokens (seer/training_data.h):
//   ppl     windows of text. Window j of W begins at j * floor((N - S - 1) / W) and is begin-of-text and the next S - 1
//           tokens; its score is the mean negative log-likelihood of its S - 1 predictions. Perplexity is exp of the mean
//           over windows
//   niah    retrieval documents of S tokens with one question at the end (seer/retrieval_documents.h), which is computed
//           under the policy like the rest. Teacher forcing: a document counts where the likeliest token is right at each
//           token of the answer
//   recall  windows as in ppl, without a score
// Recall of a sample: the share of the true softmax probability that falls into kept blocks, mean over layers, heads and
// random query rows of the last three quarters of the sample.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "seer/gate.h"
#include "seer/model.h"
#include "seer/training_data.h"

namespace seer {

// "<folder's name>@<hash of the weights>": which gates a result was got with.
std::string gates_label(const GateSet& gates, const std::filesystem::path& folder);

enum class EvalTask { kPerplexity, kRetrieval, kRecall };
std::string_view eval_task_name(EvalTask task);  // "ppl", "niah", "recall"

struct EvalOptions {
  EvalTask task = EvalTask::kPerplexity;
  std::vector<std::string> policies = {"dense"};  // text, as in seer/sparse_attention.h
  std::vector<std::int64_t> contexts = {8192};    // tokens
  std::int64_t samples = 8;                   // of each context: windows, or retrieval documents
  std::int64_t needles = 4;                   // in a retrieval document
  bool measure_recall = true;                 // its time is not in the samples' seconds
  std::int64_t block_size = 64;               // of policies without gates
  std::int64_t min_context = 0;               // below it every policy is dense
  std::optional<std::int64_t> prefill_chunk;  // as in ScoreOptions
  std::uint64_t seed = 0;  // of retrieval documents, rows of recall and the policy `random`
};

// Where and with what a sample was computed; what the caller knows of it.
struct EvalOrigin {
  std::string version, commit, cpu, isa, torch;
  int threads = 0;
  std::string
      started;  // UTC, when the program began: samples with the same text were measured side by side
};

// One sample of one policy: a line of a result file.
struct EvalSample {
  EvalTask task = EvalTask::kPerplexity;
  std::string policy;  // canonical text
  std::string gates;   // gates_label() for gate policies, else empty
  std::int64_t context = 0;
  std::int64_t sample = 0;              // from 0
  std::optional<double> nll;            // ppl: natural, mean over the predictions
  std::optional<bool> retrieved;        // niah
  std::optional<double> answer_tokens;  // niah: share of the answer's tokens that are right
  double density = 1;
  std::vector<double> layer_density;
  std::optional<double> recall;
  std::vector<double> layer_recall;
  // Of prefill: everything up to the final norm; and the parts of it on scores and selection, and in attention (0 where
  // they are not known: dense attention).
  double seconds = 0, selection_seconds = 0, attention_seconds = 0;
  std::string configuration;  // JSON: what the score depends on besides the fields above
  EvalOrigin origin;

  double tokens_per_second() const { return static_cast<double>(context) / seconds; }
  // One object of JSON, without the line's end.
  std::string to_json() const;
  // What to_json() wrote. Throws std::runtime_error that begins with `source` and names the field.
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

// A model with all that an evaluation needs. Everything is checked at construction.
class Evaluator {
 public:
  // `model`, `tokenizer` and `gates` must outlive the object. `gates` may be null where no policy needs them, and
  // `tokenizer` where the task is not niah. `gates_name` says which they are. Throws std::invalid_argument naming the
  // option, its value and what is accepted; also for a text that is too short.
  Evaluator(const Model& model, const Tokenizer* tokenizer, TokenStream text, const GateSet* gates,
            std::string gates_name, EvalOptions options, EvalOrigin origin = {});
  ~Evaluator();
  Evaluator(const Evaluator&) = delete;
  Evaluator& operator=(const Evaluator&) = delete;

  // JSON, the same for samples that may be put together.
  const std::string& configuration() const;

  // Measures every sample that is not in `done`, each sample under all policies before the next one, so that their times
  // were taken side by side.
  void run(const std::vector<EvalSample>& done, const EvalCallbacks& callbacks);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// A file of samples, one JSON object a line, each of which is on the disk once append() returned.
class EvalFile {
 public:
  // `resume` false: a new file. `resume` true: goes on with what is there, if anything; a last line without an end is
  // dropped. Throws std::runtime_error naming the file: it exists already, cannot be written, a line is no sample, or a
  // sample of the same task was got with another configuration.
  EvalFile(std::filesystem::path file, bool resume, EvalTask task,
           const std::string& configuration);
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
  EvalTask task = EvalTask::kPerplexity;
  std::string policy, gates;
  std::int64_t context = 0;
  std::int64_t samples = 0;
  std::optional<double> perplexity, retrieval, answer_tokens,
      recall;  // retrieval: share of documents
  double density = 0;
  std::vector<double> layer_density, layer_recall;
  double seconds = 0;  // median
  // Median over samples of dense seconds / seconds, where both were measured in the same run of the program.
  std::optional<double> speedup;
};

// In the order of task, context, and first appearance of the policy.
std::vector<EvalSummary> summarise(const std::vector<EvalSample>& samples);

// A table for people, each line with its end.
std::string eval_table(const std::vector<EvalSummary>& summaries);

}  // namespace seer
