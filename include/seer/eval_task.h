// What is evaluated: samples by number, each a prompt and how its score is got.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "seer/retrieval_documents.h"
#include "seer/tokenizer.h"

namespace seer {

// One sample. All of `tokens` run under the policy; then one of these gives the score:
//   likelihood      the mean negative log-likelihood (natural) of the predictions of `tokens` (task ppl)
//   forced answer   the tokens of `answer` within `tokens`: whether each is the likeliest at its place (task niah)
//   generation      `max_new_tokens` greedy tokens behind `tokens`, as text, by EvalTask::score()
struct EvalPrompt {
  std::vector<TokenId> tokens;  // begin-of-text included; at least 2
  // Likelihood: the tokens whose predictions count; count 0: all but the first.
  TokenSpan scored;
  TokenSpan answer;                     // forced answer; count 0: none
  std::int64_t max_new_tokens = 0;      // generation; 0: none
  std::vector<std::string> stop;        // generation ends before the first of these in its text
  std::vector<std::string> references;  // what is right, for people and for score()
  std::vector<std::string> classes;     // of a classification task: all labels
  std::optional<double>
      depth;           // of the needle that is asked for: 0 at the text's begin, 1 at its end
  std::string subset;  // what samples are put together by besides, such as "0-4k"; may be empty
};

// A kind of sample. Implementations are deterministic: number i of a context is the same sample at every call, on every
// machine.
class EvalTask {
 public:
  EvalTask() = default;
  EvalTask(const EvalTask&) = delete;
  EvalTask& operator=(const EvalTask&) = delete;
  virtual ~EvalTask();

  // "ppl", "niah", "ruler/vt", "longbench/qasper": also what result files call it.
  virtual std::string name() const = 0;
  // "perplexity", "retrieval", "recall" (no score), "string_match_all", "qa_f1", ...
  virtual std::string metric() const = 0;
  // What its samples depend on besides context and index: JSON, one object, keys in a fixed order. Samples of equal
  // settings may be put together.
  virtual std::string settings() const = 0;
  // Of a context, from sample 0 on. Throws std::invalid_argument that names the context and what is accepted, where the
  // task cannot make its samples at this length.
  virtual std::int64_t samples(std::int64_t context) const = 0;
  // The sample for `context` tokens, those to be generated included.
  virtual EvalPrompt prompt(std::int64_t context, std::int64_t index) const = 0;
  // Of a generated text, 0 to 1. Tasks that generate nothing need none.
  virtual double score(const EvalPrompt& prompt, std::string_view prediction) const;
};

using EvalTasks = std::vector<std::unique_ptr<EvalTask>>;

}  // namespace seer
