// Retrieval of a needle as evaluation tasks: answers are known, and forced (nothing is generated).
#pragma once

#include <cstdint>
#include <memory>

#include "seer/eval_task.h"
#include "seer/retrieval_documents.h"
#include "seer/training_data.h"

namespace seer {

struct NeedleTaskOptions {
  std::int64_t needles = 4;  // in each document; one of them is asked for
  std::int64_t samples = 25;
  std::uint64_t seed = 0;
  WordSet words = WordSet::kEvaluation;  // or kText; training documents have those of kText
};

// "niah", metric "retrieval", settings {"needles": 4} with seed and text, and {"words": "text"} for kText: sample i is retrieval_document() number i, with its needles at
// random places. `tokenizer` must outlive the task. Throws std::invalid_argument for options out of range; so does
// samples(), for a context that the needles alone exceed or that the text cannot fill.
std::unique_ptr<EvalTask> make_needle_task(std::shared_ptr<const TokenStream> text,
                                           const Tokenizer& tokenizer, TokenId bos,
                                           const NeedleTaskOptions& options);

struct NeedleGridOptions {
  std::int64_t needles = 4;
  std::int64_t depths = 11;  // evenly from 0 to 1, both included; at least 2
  std::int64_t repeats = 5;  // documents at every depth
  std::uint64_t seed = 0;
};

// "niah-grid", metric "retrieval", settings {"needles": 4, "depths": 11}. Sample i has depth (i mod depths) /
// (depths - 1) and is made from document floor(i / depths): samples of the same document differ in the place of the
// needle that is asked for and in nothing else, and more repeats add samples behind those that were there. Lifetimes and
// errors as above.
std::unique_ptr<EvalTask> make_needle_grid(std::shared_ptr<const TokenStream> text,
                                           const Tokenizer& tokenizer, TokenId bos,
                                           const NeedleGridOptions& options);

}  // namespace seer
