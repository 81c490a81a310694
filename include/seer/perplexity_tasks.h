// Perplexity as evaluation tasks: three protocols over one stream of text. A document is what stands between a
// begin-of-text token and the next one; its tokens are counted without that token. Every sample begins with begin-of-text.
// exp of the mean over samples of their mean negative log-likelihood is what papers call perplexity.
#pragma once

#include <cstdint>
#include <memory>

#include "seer/eval_task.h"
#include "seer/training_data.h"

namespace seer {

// "ppl", metric "perplexity", settings {"windows": 8}: window j of W is begin-of-text and S - 1 tokens of the stream from
// j * floor((N - S - 1) / W) on, for context S and N tokens of text; windows may reach over the ends of documents. All
// S - 1 predictions count. Throws std::invalid_argument for options out of range; so does samples(), for a context that
// the text cannot fill.
std::unique_ptr<EvalTask> make_window_perplexity(std::shared_ptr<const TokenStream> text,
                                                 TokenId bos, std::int64_t windows);

// "recall", metric "recall": the same windows, where only the recall of attention is measured.
std::unique_ptr<EvalTask> make_window_recall(std::shared_ptr<const TokenStream> text, TokenId bos,
                                             std::int64_t windows);

struct DocumentPerplexityOptions {
  std::int64_t min_tokens = 0;  // shorter documents are left out, at every context
  std::int64_t documents = 0;   // at most, the first ones of the stream; 0: all
  // True: the first S - 1 tokens of each document that has as many. False: whole documents, those of at most S - 1
  // tokens.
  bool truncate = true;
};

// "ppl-documents", metric "perplexity", settings {"min_tokens": 131072, "documents": 0, "truncate": true}: one window a
// document, as papers measure PG19 and proof-pile. With min_tokens at least the longest context, all contexts see the
// same documents. Throws as above; samples() also where no document is left.
std::unique_ptr<EvalTask> make_document_perplexity(std::shared_ptr<const TokenStream> text,
                                                   TokenId bos,
                                                   const DocumentPerplexityOptions& options);

struct SlidingPerplexityOptions {
  std::int64_t stride = 256;  // tokens that count in each window; 1 to context - 1
  std::int64_t windows = 0;   // at most, evenly chosen; 0: all
};

// "ppl-sliding", metric "perplexity", settings {"stride": 256, "windows": 0}: windows of S - 1 tokens behind
// begin-of-text, each `stride` tokens further in its document, none over its end. The last `stride` tokens count, the
// others are context: each token that counts has at least S - stride tokens before it, and counts once. The tokens before
// the first window's last `stride` do not count. Throws as above; samples() also where no document is as long as a window.
std::unique_ptr<EvalTask> make_sliding_perplexity(std::shared_ptr<const TokenStream> text,
                                                  TokenId bos,
                                                  const SlidingPerplexityOptions& options);

}  // namespace seer
