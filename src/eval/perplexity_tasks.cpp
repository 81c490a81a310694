#include "seer/perplexity_tasks.h"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>
#include <utility>
#include <vector>

#include "eval/task_checks.h"
#include "eval/text_windows.h"

namespace seer {
namespace {

void check_context(std::int64_t context) {
  if (context >= 2) return;
  throw std::invalid_argument(
      fmt::format("context {}: expected 2 or more: begin-of-text and a token", context));
}

class WindowTask final : public EvalTask {
 public:
  WindowTask(std::string name, std::string metric, std::shared_ptr<const TokenStream> text,
             TokenId bos, std::int64_t windows)
      : name_(std::move(name)),
        metric_(std::move(metric)),
        text_(std::move(text)),
        bos_(bos),
        windows_(windows) {
    expect_text(text_.get());
    expect_option_at_least("windows", windows, 1);
    settings_ = fmt::format(R"({{{},"windows":{}}})", text_settings(*text_), windows);
  }

  std::string name() const override { return name_; }
  std::string metric() const override { return metric_; }
  std::string settings() const override { return settings_; }

  std::int64_t samples(std::int64_t context) const override {
    check_context(context);
    try {
      check_window_length(*text_, context);
    } catch (const std::invalid_argument& error) {
      throw std::invalid_argument(fmt::format("context {}: {}", context, error.what()));
    }
    return windows_;
  }

  EvalPrompt prompt(std::int64_t context, std::int64_t index) const override {
    expect_sample(name_, index, samples(context));
    EvalPrompt prompt;
    prompt.tokens = text_window(*text_, bos_, context, windows_, index);
    return prompt;
  }

 private:
  std::string name_, metric_, settings_;
  std::shared_ptr<const TokenStream> text_;
  TokenId bos_;
  std::int64_t windows_;
};

// The documents of a stream.
class Documents {
 public:
  Documents(std::shared_ptr<const TokenStream> text, TokenId bos)
      : text_(std::move(text)), bos_(bos) {
    expect_text(text_.get());
    spans_ = document_spans(*text_, bos);
    settings_ = text_settings(*text_);
  }

  // Members of a JSON object.
  const std::string& settings() const { return settings_; }

  const std::vector<TokenSpan>& spans() const { return spans_; }

  std::int64_t longest() const {
    std::int64_t longest = 0;
    for (const TokenSpan& span : spans_) longest = std::max(longest, span.count);
    return longest;
  }

  // Begin-of-text, and `count` tokens from `first` on.
  std::vector<TokenId> window(std::int64_t first, std::int64_t count) const {
    std::vector<TokenId> tokens = {bos_};
    tokens.reserve(static_cast<std::size_t>(count + 1));
    const auto begin = text_->tokens.begin() + first;
    tokens.insert(tokens.end(), begin, begin + count);
    return tokens;
  }

 private:
  std::shared_ptr<const TokenStream> text_;
  TokenId bos_;
  std::vector<TokenSpan> spans_;
  std::string settings_;
};

class DocumentTask final : public EvalTask {
 public:
  DocumentTask(Documents documents, const DocumentPerplexityOptions& options)
      : documents_(std::move(documents)), options_(options) {
    expect_option_at_least("min tokens", options.min_tokens, 0);
    expect_option_at_least("documents", options.documents, 0);
  }

  std::string name() const override { return "ppl-documents"; }
  std::string metric() const override { return "perplexity"; }
  std::string settings() const override {
    return fmt::format(R"({{{},"min_tokens":{},"documents":{},"truncate":{}}})",
                       documents_.settings(), options_.min_tokens, options_.documents,
                       options_.truncate);
  }

  std::int64_t samples(std::int64_t context) const override {
    check_context(context);
    const auto count = static_cast<std::int64_t>(chosen(context).size());
    if (count > 0) return count;
    const std::int64_t least = std::max<std::int64_t>(options_.min_tokens, 1);
    throw std::invalid_argument(fmt::format(
        "context {}: ppl-documents: none of {} documents has {} tokens; the longest has {}: give "
        "other text, or another context or minimum",
        context, documents_.spans().size(),
        options_.truncate ? fmt::format("{} or more", std::max(least, context - 1))
                          : fmt::format("{} to {}", least, context - 1),
        documents_.longest()));
  }

  EvalPrompt prompt(std::int64_t context, std::int64_t index) const override {
    expect_sample(name(), index, samples(context));
    const TokenSpan span = chosen(context)[static_cast<std::size_t>(index)];
    EvalPrompt prompt;
    prompt.tokens = documents_.window(span.first, std::min(span.count, context - 1));
    return prompt;
  }

 private:
  std::vector<TokenSpan> chosen(std::int64_t context) const {
    std::vector<TokenSpan> result;
    for (const TokenSpan& span : documents_.spans()) {
      if (span.count < std::max<std::int64_t>(options_.min_tokens, 1)) continue;
      if (options_.truncate ? span.count < context - 1 : span.count > context - 1) continue;
      result.push_back(span);
      if (static_cast<std::int64_t>(result.size()) == options_.documents) break;
    }
    return result;
  }

  Documents documents_;
  DocumentPerplexityOptions options_;
};

class SlidingTask final : public EvalTask {
 public:
  SlidingTask(Documents documents, const SlidingPerplexityOptions& options)
      : documents_(std::move(documents)), options_(options) {
    expect_option_at_least("stride", options.stride, 1);
    expect_option_at_least("windows", options.windows, 0);
  }

  std::string name() const override { return "ppl-sliding"; }
  std::string metric() const override { return "perplexity"; }
  std::string settings() const override {
    return fmt::format(R"({{{},"stride":{},"windows":{}}})", documents_.settings(), options_.stride,
                       options_.windows);
  }

  std::int64_t samples(std::int64_t context) const override {
    check_context(context);
    if (options_.stride > context - 1) {
      throw std::invalid_argument(
          fmt::format("context {}: ppl-sliding: stride {}: expected 1 to {}, the tokens of a "
                      "window behind begin-of-text",
                      context, options_.stride, context - 1));
    }
    const std::int64_t all = all_windows(context);
    if (all == 0) {
      throw std::invalid_argument(
          fmt::format("context {}: ppl-sliding: none of {} documents has {} tokens; the longest "
                      "has {}: give longer ones, or a smaller context",
                      context, documents_.spans().size(), context - 1, documents_.longest()));
    }
    return options_.windows == 0 ? all : std::min(all, options_.windows);
  }

  EvalPrompt prompt(std::int64_t context, std::int64_t index) const override {
    const std::int64_t count = samples(context);
    expect_sample(name(), index, count);
    const std::int64_t all = all_windows(context);
    // Evenly chosen; index * all / count without overflow.
    std::int64_t left = index * (all / count) + index * (all % count) / count;
    for (const TokenSpan& span : documents_.spans()) {
      const std::int64_t here = windows_in(span, context);
      if (left >= here) {
        left -= here;
        continue;
      }
      EvalPrompt prompt;
      prompt.tokens = documents_.window(span.first + left * options_.stride, context - 1);
      prompt.scored = {.first = context - options_.stride, .count = options_.stride};
      return prompt;
    }
    throw std::logic_error("ppl-sliding: a window behind the last document");
  }

 private:
  std::int64_t windows_in(const TokenSpan& span, std::int64_t context) const {
    return span.count < context - 1 ? 0 : (span.count - (context - 1)) / options_.stride + 1;
  }
  std::int64_t all_windows(std::int64_t context) const {
    std::int64_t all = 0;
    for (const TokenSpan& span : documents_.spans()) all += windows_in(span, context);
    return all;
  }

  Documents documents_;
  SlidingPerplexityOptions options_;
};

}  // namespace

std::unique_ptr<EvalTask> make_window_perplexity(std::shared_ptr<const TokenStream> text,
                                                 TokenId bos, std::int64_t windows) {
  return std::make_unique<WindowTask>("ppl", "perplexity", std::move(text), bos, windows);
}

std::unique_ptr<EvalTask> make_window_recall(std::shared_ptr<const TokenStream> text, TokenId bos,
                                             std::int64_t windows) {
  return std::make_unique<WindowTask>("recall", "recall", std::move(text), bos, windows);
}

std::unique_ptr<EvalTask> make_document_perplexity(std::shared_ptr<const TokenStream> text,
                                                   TokenId bos,
                                                   const DocumentPerplexityOptions& options) {
  return std::make_unique<DocumentTask>(Documents(std::move(text), bos), options);
}

std::unique_ptr<EvalTask> make_sliding_perplexity(std::shared_ptr<const TokenStream> text,
                                                  TokenId bos,
                                                  const SlidingPerplexityOptions& options) {
  return std::make_unique<SlidingTask>(Documents(std::move(text), bos), options);
}

}  // namespace seer
