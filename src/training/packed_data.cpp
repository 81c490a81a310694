#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <span>
#include <stdexcept>
#include <utility>

#include "base/fnv1a.h"
#include "seer/retrieval_documents.h"
#include "seer/training_data.h"

namespace seer {
namespace {

constexpr std::int64_t kQuestionsLength = 8192;  // what PackedDataOptions::questions is for

class PackedData final : public TrainingData {
 public:
  PackedData(TokenStream stream, const Tokenizer& tokenizer, TokenId bos,
             const PackedDataOptions& options)
      : stream_(std::move(stream)), tokenizer_(tokenizer), bos_(bos), options_(options) {
    if (!(options.retrieval_share >= 0 && options.retrieval_share <= 1)) {
      throw std::invalid_argument(
          fmt::format("retrieval share {}: expected 0 to 1", options.retrieval_share));
    }
    if (options.questions < 1) {
      throw std::invalid_argument(
          fmt::format("questions {}: expected 1 or more", options.questions));
    }
    fingerprint_ = fmt::format("{} tokens, hash {:016x}, share {}, questions {}, seed {}",
                               stream_.tokens.size(), fnv1a(stream_.tokens),
                               options.retrieval_share, options.questions, options.seed);
  }

  std::vector<TokenId> sequence(std::int64_t index, std::int64_t length) const override {
    const auto size = static_cast<std::int64_t>(stream_.tokens.size());
    const std::int64_t windows = size / length;
    if (windows < 1) {
      throw std::invalid_argument(
          fmt::format("training text: {} tokens are fewer than one sequence of {}: give more text, "
                      "or a smaller context",
                      size, length));
    }
    if (is_retrieval(index)) {
      const std::int64_t questions =
          std::max<std::int64_t>(1, std::llround(static_cast<double>(options_.questions * length) /
                                                 static_cast<double>(kQuestionsLength)));
      return retrieval_document(stream_, tokenizer_, bos_,
                                {.length = length,
                                 .needles = questions,
                                 .questions = questions,
                                 .questions_inside = questions,
                                 .words = WordSet::kText,
                                 .seed = options_.seed},
                                index)
          .tokens;
    }
    const std::span<const std::int32_t> text =
        std::span(stream_.tokens)
            .subspan(static_cast<std::size_t>(window_of(index, windows) * length),
                     static_cast<std::size_t>(length));
    std::vector<TokenId> tokens = {bos_};
    tokens.insert(tokens.end(), text.begin(), text.end() - 1);
    return tokens;
  }

  std::string fingerprint() const override { return fingerprint_; }

 private:
  // Spread evenly: after n sequences the share is right to within one.
  bool is_retrieval(std::int64_t index) const {
    const auto until = [&](std::int64_t n) {
      return std::floor(static_cast<double>(n) * options_.retrieval_share);
    };
    return until(index + 1) > until(index);
  }

  std::int64_t window_of(std::int64_t index, std::int64_t windows) const {
    std::vector<std::int64_t> order(static_cast<std::size_t>(windows));
    std::iota(order.begin(), order.end(), 0);
    std::mt19937_64 random(options_.seed ^ (static_cast<std::uint64_t>(index / windows) << 32));
    // Fisher and Yates; the standard shuffle may differ between libraries.
    for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random() % i]);
    return order[static_cast<std::size_t>(index % windows)];
  }

  TokenStream stream_;
  const Tokenizer& tokenizer_;
  TokenId bos_;
  PackedDataOptions options_;
  std::string fingerprint_;
};

}  // namespace

SplitStream split_stream(TokenStream stream, std::int64_t context) {
  const auto size = static_cast<std::int64_t>(stream.tokens.size());
  const std::int64_t held_out = std::max(size / 20, std::min(2 * context, size / 4));
  SplitStream split;
  split.held_out.tokens.assign(stream.tokens.end() - held_out, stream.tokens.end());
  stream.tokens.resize(static_cast<std::size_t>(size - held_out));
  split.train = std::move(stream);
  return split;
}

std::unique_ptr<TrainingData> make_packed_data(TokenStream stream, const Tokenizer& tokenizer,
                                               TokenId bos, const PackedDataOptions& options) {
  return std::make_unique<PackedData>(std::move(stream), tokenizer, bos, options);
}

}  // namespace seer
