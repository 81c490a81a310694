#include "seer/retrieval_tasks.h"

#include <fmt/format.h>

#include <stdexcept>
#include <utility>

#include "eval/task_checks.h"
#include "eval/text_windows.h"

namespace seer {
namespace {

// What both tasks have in common: documents with one question, at the end.
class NeedleSource {
 public:
  NeedleSource(std::shared_ptr<const TokenStream> text, const Tokenizer& tokenizer, TokenId bos,
               std::int64_t needles, std::uint64_t seed, WordSet words)
      : text_(std::move(text)), tokenizer_(tokenizer), bos_(bos) {
    expect_text(text_.get());
    expect_option_at_least("needles", needles, 1);
    options_.needles = needles;
    options_.seed = seed;
    options_.words = words;
    settings_ = fmt::format(R"("seed":{},{}{})", seed, text_settings(*text_),
                            words == WordSet::kText ? R"(,"words":"text")" : "");
  }

  // Members of a JSON object.
  const std::string& settings() const { return settings_; }

  EvalPrompt prompt(std::int64_t context, std::int64_t index, std::optional<double> depth) const {
    RetrievalOptions options = options_;
    options.length = context;
    options.depth = depth;
    RetrievalDocument document = retrieval_document(*text_, tokenizer_, bos_, options, index);
    EvalPrompt prompt;
    prompt.tokens = std::move(document.tokens);
    prompt.answer = document.answers.front();
    const auto first = prompt.tokens.begin() + prompt.answer.first;
    prompt.references = {tokenizer_.decode(std::vector<TokenId>(first, first + prompt.answer.count),
                                           /*skip_special_tokens=*/true)};
    prompt.depth = depth;
    return prompt;
  }

  // Whether there are documents of this length does not depend on the number but for a few tokens.
  void check(std::int64_t context) const {
    try {
      prompt(context, 0, std::nullopt);
    } catch (const std::invalid_argument& error) {
      throw std::invalid_argument(fmt::format("context {}: {}", context, error.what()));
    }
  }

 private:
  std::shared_ptr<const TokenStream> text_;
  const Tokenizer& tokenizer_;
  TokenId bos_;
  RetrievalOptions options_;
  std::string settings_;
};

class NeedleTask final : public EvalTask {
 public:
  NeedleTask(NeedleSource source, const NeedleTaskOptions& options)
      : source_(std::move(source)), options_(options) {
    expect_option_at_least("samples", options.samples, 1);
  }

  std::string name() const override { return "niah"; }
  std::string metric() const override { return "retrieval"; }
  std::string settings() const override {
    return fmt::format(R"({{{},"needles":{}}})", source_.settings(), options_.needles);
  }
  std::int64_t samples(std::int64_t context) const override {
    source_.check(context);
    return options_.samples;
  }
  EvalPrompt prompt(std::int64_t context, std::int64_t index) const override {
    expect_sample(name(), index, options_.samples);
    return source_.prompt(context, index, std::nullopt);
  }

 private:
  NeedleSource source_;
  NeedleTaskOptions options_;
};

class NeedleGrid final : public EvalTask {
 public:
  NeedleGrid(NeedleSource source, const NeedleGridOptions& options)
      : source_(std::move(source)), options_(options) {
    expect_option_at_least("depths", options.depths, 2);
    expect_option_at_least("repeats", options.repeats, 1);
  }

  std::string name() const override { return "niah-grid"; }
  std::string metric() const override { return "retrieval"; }
  std::string settings() const override {
    return fmt::format(R"({{{},"needles":{},"depths":{}}})", source_.settings(), options_.needles,
                       options_.depths);
  }
  std::int64_t samples(std::int64_t context) const override {
    source_.check(context);
    return options_.depths * options_.repeats;
  }
  EvalPrompt prompt(std::int64_t context, std::int64_t index) const override {
    expect_sample(name(), index, options_.depths * options_.repeats);
    const double depth =
        static_cast<double>(index % options_.depths) / static_cast<double>(options_.depths - 1);
    return source_.prompt(context, index / options_.depths, depth);
  }

 private:
  NeedleSource source_;
  NeedleGridOptions options_;
};

}  // namespace

std::unique_ptr<EvalTask> make_needle_task(std::shared_ptr<const TokenStream> text,
                                           const Tokenizer& tokenizer, TokenId bos,
                                           const NeedleTaskOptions& options) {
  return std::make_unique<NeedleTask>(
      NeedleSource(std::move(text), tokenizer, bos, options.needles, options.seed, options.words),
      options);
}

std::unique_ptr<EvalTask> make_needle_grid(std::shared_ptr<const TokenStream> text,
                                           const Tokenizer& tokenizer, TokenId bos,
                                           const NeedleGridOptions& options) {
  return std::make_unique<NeedleGrid>(NeedleSource(std::move(text), tokenizer, bos, options.needles,
                                                   options.seed, WordSet::kEvaluation),
                                      options);
}

}  // namespace seer
