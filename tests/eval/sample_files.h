// Samples of an evaluation that did not happen.
#pragma once

#include <string>

#include "seer/eval_results.h"

namespace seer::test {

inline EvalSample made_up_sample(const std::string& policy, std::int64_t context,
                                 std::int64_t index, double density, double seconds) {
  EvalSample sample;
  sample.task = "ppl";
  sample.metric = "perplexity";
  sample.policy = policy;
  sample.context = context;
  sample.sample = index;
  sample.prompt_tokens = context;
  sample.nll = 4.0 + 0.1 * static_cast<double>(index) + (1 - density) * 0.05;
  sample.density = density;
  sample.layer_density = {density, density};
  sample.head_density = {{density / 2, density * 1.5}, {density, density}};
  sample.recall = 1 - (1 - density) * 0.3;
  sample.layer_recall = {*sample.recall, *sample.recall};
  sample.seconds = seconds;
  sample.configuration = R"({"model":"m","seed":0})";
  sample.origin = {.version = "0.1.0",
                   .commit = "abc",
                   .cpu = "A <cpu>",
                   .isa = "avx2",
                   .torch = "2.13.0",
                   .threads = 2,
                   .started = "2026-11-24T00:00:00Z"};
  return sample;
}

// A document with a forced answer.
inline EvalSample made_up_retrieval(const std::string& policy, std::int64_t context,
                                    std::int64_t index, bool retrieved) {
  EvalSample sample = made_up_sample(policy, context, index, policy == "dense" ? 1 : 0.1, 1);
  sample.task = "niah";
  sample.metric = "retrieval";
  sample.nll.reset();
  sample.score = retrieved ? 1 : 0;
  sample.answer_tokens = retrieved ? 1.0 : 0.5;
  return sample;
}

// A generated answer.
inline EvalSample made_up_answer(const std::string& task, const std::string& policy,
                                 std::int64_t index, double score) {
  EvalSample sample = made_up_sample(policy, 4096, index, policy == "dense" ? 1 : 0.1, 1);
  sample.task = task;
  sample.metric = "string_match_all";
  sample.nll.reset();
  sample.score = score;
  sample.prediction = "12, \"13\"";
  sample.references = {"12", "14"};
  sample.generated_tokens = 5;
  sample.decode_seconds = 0.25;
  return sample;
}

}  // namespace seer::test
