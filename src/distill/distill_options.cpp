#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "base/quote.h"
#include "seer/distill.h"
#include "training/schedule.h"

namespace seer {
namespace {

void require(bool holds, const char* field, double value, const char* expected) {
  if (holds) return;
  throw std::invalid_argument(fmt::format("{}: expected {}, got {}", field, expected, value));
}

}  // namespace

std::int64_t DistillOptions::longest_sequence() const {
  if (lengths.empty()) return context;
  std::int64_t longest = 0;
  for (const LengthCount& each : lengths) longest = std::max(longest, each.length);
  return longest;
}

void DistillOptions::check() const {
  const auto count = [](const char* field, std::int64_t value, std::int64_t least) {
    require(value >= least, field, static_cast<double>(value),
            least == 0 ? "0 or more" : "1 or more");
  };
  require(context >= 2, "context", static_cast<double>(context), "2 tokens or more");
  std::set<std::int64_t> seen;
  for (const LengthCount& each : lengths) {
    require(each.length >= 2, "context", static_cast<double>(each.length), "2 tokens or more");
    require(seen.insert(each.length).second, "context", static_cast<double>(each.length),
            "each length once");
    count("sequences of a length", each.sequences, 1);
  }
  count("batch size", batch_size, 1);
  count("steps", steps, 0);
  count("replay", replay, 0);
  count("replay sequences", replay_sequences, 1);
  count("warm-up steps", warmup_steps, 0);
  count("checkpoint interval", checkpoint_interval, 1);
  const auto real = [](const char* field, double value, bool holds, const char* expected) {
    require(std::isfinite(value) && holds, field, value, expected);
  };
  real("learning rate", learning_rate, learning_rate > 0, "above 0");
  real("final learning rate", final_learning_rate, final_learning_rate >= 0, "0 or more");
  real("weight decay", weight_decay, weight_decay >= 0, "0 or more");
  real("beta1", beta1, beta1 >= 0 && beta1 < 1, "0 <= beta1 < 1");
  real("beta2", beta2, beta2 >= 0 && beta2 < 1, "0 <= beta2 < 1");
  real("epsilon", epsilon, epsilon > 0, "above 0");
  real("clip norm", clip_norm, clip_norm >= 0, "0 (none) or more");
  real("loss scale", loss_scale, loss_scale > 0, "above 0");
  real("target power", target_power, target_power > 0, "above 0");
  real("row slice", row_slice, row_slice >= 0 && row_slice < 1, "0 <= row slice < 1");
  real("recall ratio", recall_ratio, recall_ratio > 0 && recall_ratio <= 1,
       "above 0 and at most 1");
}

double learning_rate_at(const DistillOptions& options, std::int64_t update) {
  return scheduled_rate(LearningRateSchedule::kCosine, options.learning_rate,
                        options.final_learning_rate, options.warmup_steps, options.updates(),
                        update);
}

std::string lengths_text(const DistillOptions& options) {
  if (options.lengths.empty()) return std::to_string(options.context);
  std::string text;
  for (const LengthCount& each : options.lengths) {
    if (!text.empty()) text += ',';
    text += fmt::format("{}:{}", each.length, each.sequences);
  }
  return text;
}

void parse_lengths(std::string_view text, DistillOptions& options) {
  const auto integer = [&](std::string_view digits) {
    std::int64_t value = 0;
    const char* const end = digits.data() + digits.size();
    const auto [rest, error] = std::from_chars(digits.data(), end, value);
    if (error == std::errc() && rest == end) return value;
    throw std::invalid_argument("context " + quote(std::string(text)) +
                                ": expected a number of tokens, or lengths with how many sequences "
                                "each has, such as 8192:126,16384:14");
  };
  options.lengths.clear();
  if (text.find(':') == std::string_view::npos) {
    options.context = integer(text);
    return;
  }
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const std::string_view part = text.substr(begin, end - begin);
    const std::size_t colon = std::min(part.find(':'), part.size());
    const std::string_view sequences = part.substr(std::min(colon + 1, part.size()));
    options.lengths.push_back(
        {.length = integer(part.substr(0, colon)), .sequences = integer(sequences)});
    begin = end + 1;
  }
}

}  // namespace seer
