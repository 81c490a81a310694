#include "seer/score.h"

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

// Goes over the logits of consecutive positions and keeps what is asked for.
class Scorer {
 public:
  Scorer(const Model& model, const at::Tensor& tokens, const std::vector<std::int64_t>& positions)
      : model_(model),
        tokens_(tokens.to(model.options().device)),
        nll_sum_(at::zeros({}, tokens_.options().dtype(at::kDouble))) {
    for (const std::int64_t position : positions) wanted_[position] = {};
  }

  // hidden [length, hidden_size] of the positions from `first` on; only what is wanted of them.
  void take_wanted(const at::Tensor& hidden, std::int64_t first) {
    const auto end = wanted_.lower_bound(first + hidden.size(0));
    for (auto it = wanted_.lower_bound(first); it != end; ++it) {
      take_logits(model_.logits(hidden.narrow(0, it->first - first, 1)), it->first);
    }
  }

  // The same, with the likelihood of all tokens.
  void take(const at::Tensor& hidden, std::int64_t first) {
    const std::int64_t bytes = tokens_.is_cuda() ? kLogitsBytesOnGpu : kLogitsBytes;
    const std::int64_t rows = std::max<std::int64_t>(1, bytes / (4 * model_.config().vocab_size));
    for (std::int64_t row = 0; row < hidden.size(0); row += rows) {
      const std::int64_t count = std::min(rows, hidden.size(0) - row);
      take_logits(model_.logits(hidden.narrow(0, row, count)), first + row);
    }
  }

  double nll_sum() const { return nll_sum_.item<double>(); }
  const PositionScore& at(std::int64_t position) const { return wanted_.at(position); }

 private:
  void take_logits(const at::Tensor& logits, std::int64_t first) {
    const at::Tensor logsumexp = at::logsumexp(logits, {1});
    // The last token of all has no successor.
    const std::int64_t scored = std::min(logits.size(0), tokens_.size(0) - 1 - first);
    if (scored > 0) {
      const at::Tensor next = tokens_.narrow(0, first + 1, scored).unsqueeze(1);
      const at::Tensor taken = at::gather(logits.narrow(0, 0, scored), 1, next).squeeze(1);
      // On the device: asking for the number would wait for it.
      nll_sum_.add_(logsumexp.narrow(0, 0, scored).to(at::kDouble).sub(taken).sum());
    }
    const auto end = wanted_.lower_bound(first + logits.size(0));
    for (auto it = wanted_.lower_bound(first); it != end; ++it) {
      const std::int64_t row = it->first - first;
      it->second = position_score(it->first, logits[row], logsumexp[row].item<float>());
    }
  }

  const Model& model_;
  const at::Tensor tokens_;  // [length], on the model's device
  std::map<std::int64_t, PositionScore> wanted_;
  const at::Tensor nll_sum_;  // float64, a number
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
  Scorer scorer(model, row[0], positions);
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
    if (options.likelihood) {
      scorer.take(hidden, first);
    } else {
      scorer.take_wanted(hidden, first);
    }
  }
  if (options.likelihood && length > 1)
    score.nll_mean = scorer.nll_sum() / static_cast<double>(length - 1);
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
