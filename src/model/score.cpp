#include "seer/score.h"

#include <ATen/ops/argmax.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <stdexcept>
#include <tuple>
#include <utility>

#include "base/json.h"
#include "model/token_ids.h"
#include "seer/device.h"

namespace seer {
namespace {

constexpr std::int64_t kTop = 5;
constexpr std::int64_t kFirst = 8;
// Of a piece of [positions, vocab_size]: larger on a GPU, which one of a small piece would not fill.
constexpr std::int64_t kLogitsBytes = std::int64_t{32} << 20;
constexpr std::int64_t kLogitsBytesOnGpu = std::int64_t{512} << 20;

std::vector<std::int64_t> checked_positions(const ScoreOptions& options, std::int64_t length) {
  for (const std::int64_t position : options.positions) {
    if (position >= 0 && position < length) continue;
    throw std::invalid_argument(
        fmt::format("position {}: expected 0 to {} ({} tokens)", position, length - 1, length));
  }
  if (options.positions.empty()) return {length - 1};
  return options.positions;
}

// The positions whose logits predict what is scored.
TokenSpan checked_predictions(const ScoreOptions& options, std::int64_t length) {
  const TokenSpan& scored = options.scored;
  if (!options.likelihood) return {};
  if (scored.count == 0) return {.first = 0, .count = length - 1};
  if (scored.first < 1 || scored.count < 0 || scored.count > length - scored.first) {
    throw std::invalid_argument(
        fmt::format("scored: expected tokens within 1 to {} ({} tokens), got {} from {} on",
                    length - 1, length, scored.count, scored.first));
  }
  return {.first = scored.first - 1, .count = scored.count};
}

template <typename Number>
std::vector<Number> values_of(const at::Tensor& tensor) {
  const at::Tensor row = tensor.cpu().contiguous();
  const auto* const data = row.const_data_ptr<Number>();
  return std::vector<Number>(data, data + row.numel());
}

PositionScore position_score(std::int64_t position, const at::Tensor& logits, double logsumexp) {
  const std::int64_t vocab_size = logits.size(0);
  const auto [top_logits, top_ids] = at::topk(logits, std::min(kTop, vocab_size));
  return {.position = position,
          .top_ids = values_of<TokenId>(top_ids),
          .top_logits = values_of<float>(top_logits),
          .first_logits = values_of<float>(logits.narrow(0, 0, std::min(kFirst, vocab_size))),
          .logsumexp = logsumexp};
}

// Goes over the hidden states of consecutive positions and keeps what is asked for.
class Scorer {
 public:
  Scorer(const Model& model, const at::Tensor& tokens, const std::vector<std::int64_t>& positions,
         TokenSpan predictions, bool token_logprobs)
      : model_(model),
        tokens_(tokens.to(model.options().device)),
        predictions_(predictions),
        token_logprobs_(token_logprobs),
        nll_sum_(at::zeros({}, tokens_.options().dtype(at::kDouble))) {
    for (const std::int64_t position : positions) wanted_[position] = {};
  }

  // hidden [length, hidden_size] of the positions from `first` on.
  void take(const at::Tensor& hidden, std::int64_t first) {
    const std::int64_t last = first + hidden.size(0);
    const std::int64_t begin = std::clamp(predictions_.first, first, last);
    const std::int64_t end = std::clamp(predictions_.first + predictions_.count, begin, last);
    const std::int64_t bytes = tokens_.is_cuda() ? kLogitsBytesOnGpu : kLogitsBytes;
    const std::int64_t rows = std::max<std::int64_t>(1, bytes / (4 * model_.config().vocab_size));
    for (std::int64_t row = begin; row < end; row += rows) {
      const at::Tensor piece = hidden.narrow(0, row - first, std::min(rows, end - row));
      take_predictions(model_.logits(piece), row);
    }
    for (auto it = wanted_.lower_bound(first); it != wanted_.lower_bound(last); ++it) {
      if (it->first >= begin && it->first < end) continue;
      const at::Tensor logits = model_.logits(hidden.narrow(0, it->first - first, 1));
      take_wanted(logits, at::logsumexp(logits, {1}), it->first);
    }
  }

  const PositionScore& at(std::int64_t position) const { return wanted_.at(position); }

  void add_likelihood(SequenceScore& score) const {
    if (predictions_.count == 0) return;
    score.nll_mean = nll_sum_.item<double>() / static_cast<double>(predictions_.count);
    if (!token_logprobs_) return;
    score.token_logprobs = values_of<float>(at::cat(logprobs_));
    const at::Tensor is_top = at::cat(is_top_).cpu();
    const bool* const data = is_top.const_data_ptr<bool>();
    score.is_top.assign(data, data + is_top.numel());
  }

 private:
  void take_predictions(const at::Tensor& logits, std::int64_t first) {
    const at::Tensor logsumexp = at::logsumexp(logits, {1});
    const at::Tensor next = tokens_.narrow(0, first + 1, logits.size(0));
    const at::Tensor taken = at::gather(logits, 1, next.unsqueeze(1)).squeeze(1);
    // On the device: asking for the number would wait for it.
    nll_sum_.add_(logsumexp.to(at::kDouble).sub(taken).sum());
    if (token_logprobs_) {
      logprobs_.push_back(taken.sub(logsumexp));
      is_top_.push_back(at::argmax(logits, 1).eq(next));
    }
    take_wanted(logits, logsumexp, first);
  }

  void take_wanted(const at::Tensor& logits, const at::Tensor& logsumexp, std::int64_t first) {
    const auto end = wanted_.lower_bound(first + logits.size(0));
    for (auto it = wanted_.lower_bound(first); it != end; ++it) {
      const std::int64_t row = it->first - first;
      it->second = position_score(it->first, logits[row], logsumexp[row].item<float>());
    }
  }

  const Model& model_;
  const at::Tensor tokens_;      // [length], on the model's device
  const TokenSpan predictions_;  // the positions that the likelihood looks at
  const bool token_logprobs_;
  std::map<std::int64_t, PositionScore> wanted_;
  const at::Tensor nll_sum_;                   // float64, a number
  std::vector<at::Tensor> logprobs_, is_top_;  // float32 and bool, pieces of [predictions]
};

}  // namespace

SequenceScore score_tokens(const Model& model, std::span<const TokenId> tokens,
                           const ScoreOptions& options) {
  const c10::InferenceMode inference;
  check_token_ids(tokens, model.config());
  const auto length = static_cast<std::int64_t>(tokens.size());
  const std::vector<std::int64_t> positions = checked_positions(options, length);
  const at::Tensor row = token_row(tokens);
  KvCache cache(model.config(), 1, length, model.options().tensors());
  const std::int64_t chunk = model.prefill_chunk(length, options.prefill_chunk, options.attention);
  Scorer scorer(model, row[0], positions, checked_predictions(options, length),
                options.token_logprobs);
  SequenceScore score;
  score.num_tokens = length;
  if (options.attention != nullptr) options.attention->begin(0, length);
  for (std::int64_t first = 0; first < length; first += chunk) {
    if (options.between_chunks) options.between_chunks();
    const std::int64_t count = std::min(chunk, length - first);
    const auto start = std::chrono::steady_clock::now();
    const at::Tensor hidden =
        model.forward(row.narrow(1, first, count), cache, options.attention)[0];
    synchronize(model.options().device);
    score.forward_seconds +=
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    scorer.take(hidden, first);
  }
  scorer.add_likelihood(score);
  for (const std::int64_t position : positions) score.positions.push_back(scorer.at(position));
  return score;
}

std::string score_json(const Model& model, const SequenceScore& score) {
  nlohmann::ordered_json line;
  line["model"] = model.config().name;
  line["num_tokens"] = score.num_tokens;
  line["nll_mean"] = nullptr;
  if (score.nll_mean) line["nll_mean"] = *score.nll_mean;
  nlohmann::ordered_json& positions = line["positions"];
  for (const PositionScore& position : score.positions) {
    positions[std::to_string(position.position)] = {{"top5", position.top_ids},
                                                    {"top5_logits", position.top_logits},
                                                    {"first8_logits", position.first_logits},
                                                    {"logsumexp", position.logsumexp}};
  }
  return line.dump();
}

}  // namespace seer
