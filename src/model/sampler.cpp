#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <numeric>
#include <stdexcept>

#include "seer/generate.h"

namespace seer {
namespace {

constexpr float kRemoved = -std::numeric_limits<float>::infinity();

void penalize_repetition(std::span<float> logits, std::span<const TokenId> context,
                         double penalty) {
  std::vector<bool> seen(logits.size(), false);
  for (const TokenId token : context) {
    const auto index = static_cast<std::size_t>(token);
    if (token < 0 || index >= logits.size() || seen[index]) continue;
    seen[index] = true;
    const auto factor = static_cast<float>(penalty);
    logits[index] = logits[index] < 0 ? logits[index] * factor : logits[index] / factor;
  }
}

void keep_top_k(std::span<float> logits, std::int64_t top_k) {
  const auto count = static_cast<std::size_t>(top_k);
  if (count >= logits.size()) return;
  std::vector<float> sorted(logits.begin(), logits.end());
  const auto last = sorted.begin() + static_cast<std::ptrdiff_t>(count - 1);
  std::nth_element(sorted.begin(), last, sorted.end(), std::greater<>());
  const float least = *last;
  for (float& logit : logits) {
    if (logit < least) logit = kRemoved;
  }
}

// Probabilities of logits, 0 where removed.
std::vector<double> softmax(std::span<const float> logits) {
  const double highest = *std::max_element(logits.begin(), logits.end());
  std::vector<double> probabilities(logits.size());
  double sum = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    probabilities[i] = std::exp(static_cast<double>(logits[i]) - highest);
    sum += probabilities[i];
  }
  for (double& probability : probabilities) probability /= sum;
  return probabilities;
}

// Goes from the unlikeliest up, and removes while what was gone over is at most 1 - top_p; the likeliest stays.
void keep_top_p(std::span<float> logits, double top_p) {
  const std::vector<double> probabilities = softmax(logits);
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] != kRemoved) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return logits[a] < logits[b]; });
  double sum = 0;
  for (std::size_t i = 0; i + 1 < order.size(); ++i) {
    sum += probabilities[order[i]];
    if (sum > 1 - top_p) return;
    logits[order[i]] = kRemoved;
  }
}

void keep_min_p(std::span<float> logits, double min_p) {
  // p < min_p * highest p, without the sum.
  const double least =
      static_cast<double>(*std::max_element(logits.begin(), logits.end())) + std::log(min_p);
  for (float& logit : logits) {
    if (static_cast<double>(logit) < least) logit = kRemoved;
  }
}

TokenId likeliest(std::span<const float> logits) {
  return std::max_element(logits.begin(), logits.end()) - logits.begin();
}

void check(bool in_range, const char* option, double value, const char* expected) {
  if (in_range) return;
  throw std::invalid_argument(fmt::format("{} {}: expected {}", option, value, expected));
}

}  // namespace

Sampler::Sampler(const SamplingOptions& options) : options_(options), random_(options.seed) {
  check(std::isfinite(options.temperature) && options.temperature >= 0, "temperature",
        options.temperature, "0 (greedy) or more");
  check(options.top_k >= 0, "top-k", static_cast<double>(options.top_k), "0 (all) or more");
  check(options.top_p > 0 && options.top_p <= 1, "top-p", options.top_p, "above 0 and at most 1");
  check(options.min_p >= 0 && options.min_p <= 1, "min-p", options.min_p, "0 to 1");
  check(std::isfinite(options.repetition_penalty) && options.repetition_penalty > 0,
        "repetition penalty", options.repetition_penalty, "a number above 0 (1: none)");
}

TokenId Sampler::pick(std::span<float> logits, std::span<const TokenId> context) {
  float highest = kRemoved;
  for (float& logit : logits) {
    if (std::isnan(logit)) logit = kRemoved;
    highest = std::max(highest, logit);
  }
  if (!std::isfinite(highest)) {
    throw std::runtime_error(
        "the model's logits hold no finite number: the weights may be damaged");
  }
  if (options_.repetition_penalty != 1) {
    penalize_repetition(logits, context, options_.repetition_penalty);
  }
  if (options_.temperature == 0) return likeliest(logits);

  for (float& logit : logits) logit /= static_cast<float>(options_.temperature);
  if (options_.top_k > 0) keep_top_k(logits, options_.top_k);
  if (options_.top_p < 1) keep_top_p(logits, options_.top_p);
  if (options_.min_p > 0) keep_min_p(logits, options_.min_p);

  const std::vector<double> probabilities = softmax(logits);
  // 53 random bits; std::uniform_real_distribution may differ between standard libraries.
  double left = static_cast<double>(random_() >> 11) * 0x1p-53;
  for (std::size_t i = 0; i < probabilities.size(); ++i) {
    left -= probabilities[i];
    if (left < 0 && probabilities[i] > 0) return static_cast<TokenId>(i);
  }
  return likeliest(logits);  // rounding left a rest
}

}  // namespace seer
