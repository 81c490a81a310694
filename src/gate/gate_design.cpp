#include "seer/gate_design.h"

#include <charconv>
#include <stdexcept>
#include <system_error>

#include "base/quote.h"

namespace seer {
namespace {

constexpr std::int64_t kMaxTokens = 128;  // the largest block

[[noreturn]] void fail(std::string_view design, const std::string& why) {
  throw std::invalid_argument("gate design " + quote(design) + ": " + why +
                              "; expected Q<kinds>[tokens]_K<kinds>[tokens] with one or more of "
                              "max, min, avg in this order on each side, as in Qavg_Kmaxminavg or "
                              "Qavg16_Kmaxminavg");
}

bool take(std::string_view& text, std::string_view word) {
  if (!text.starts_with(word)) return false;
  text.remove_prefix(word.size());
  return true;
}

// Takes the kinds and the number off the front of `rest`.
GatePooling take_pooling(std::string_view design, const std::string& side, std::string_view& rest) {
  GatePooling pooling;
  pooling.max = take(rest, "max");
  pooling.min = take(rest, "min");
  pooling.avg = take(rest, "avg");
  if (pooling.num_kinds() == 0) fail(design, "'" + side + "' names no kind of pooling");
  if (rest.empty() || rest.front() < '0' || rest.front() > '9') return pooling;
  const bool leading_zero = rest.front() == '0';
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), pooling.tokens);
  if (error != std::errc() || leading_zero || pooling.tokens > kMaxTokens) {
    fail(design,
         "'" + side + "': tokens of a representative: expected 1 to " + std::to_string(kMaxTokens));
  }
  rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
  if (pooling.tokens == 1 && pooling.num_kinds() > 1) {
    fail(design, "'" + side + "': of one token, max, min and avg are the same: name one kind");
  }
  return pooling;
}

std::string side_text(const GatePooling& pooling) {
  return pooling.kinds() + (pooling.tokens == 0 ? "" : std::to_string(pooling.tokens));
}

void check_side(const GateDesign& design, const char* side, const GatePooling& pooling,
                std::int64_t block_size) {
  const std::int64_t tokens = pooling.tokens_of(block_size);
  if (tokens >= 1 && tokens <= block_size && block_size % tokens == 0) return;
  throw std::invalid_argument(
      "gate design " + quote(design.to_string()) + ": '" + side + "': " + std::to_string(tokens) +
      " tokens of a representative do not divide the block size, " + std::to_string(block_size));
}

}  // namespace

std::string GatePooling::kinds() const {
  return std::string(max ? "max" : "") + (min ? "min" : "") + (avg ? "avg" : "");
}

GateDesign GateDesign::parse(std::string_view text) {
  std::string_view rest = text;
  GateDesign design;
  if (!take(rest, "Q")) fail(text, "does not begin with 'Q'");
  design.q = take_pooling(text, "Q", rest);
  if (!take(rest, "_K")) fail(text, "expected '_K' behind the kinds of the queries");
  design.k = take_pooling(text, "K", rest);
  if (!rest.empty()) fail(text, quote(rest) + " is left over");
  return design;
}

std::string GateDesign::to_string() const {
  std::string text = "Q";
  return text.append(side_text(q)).append("_K").append(side_text(k));
}

void GateDesign::check_block_size(std::int64_t block_size) const {
  if (block_size != 16 && block_size != 32 && block_size != 64 && block_size != 128) {
    throw std::invalid_argument("block_size " + std::to_string(block_size) +
                                ": expected 16, 32, 64 or 128");
  }
  check_side(*this, "Q", q, block_size);
  check_side(*this, "K", k, block_size);
}

std::vector<std::string> published_gate_designs() {
  constexpr int kSubsets = 8;
  const auto pooling = [](int bits) {
    return GatePooling{.max = (bits & 1) != 0, .min = (bits & 2) != 0, .avg = (bits & 4) != 0};
  };
  std::vector<std::string> names;
  for (int q = 1; q < kSubsets; ++q) {
    for (int k = 1; k < kSubsets; ++k)
      names.push_back(GateDesign{pooling(q), pooling(k)}.to_string());
  }
  return names;
}

}  // namespace seer
