#include "eval/ruler/fit.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <stdexcept>
#include <utility>

namespace seer::ruler {
namespace {

// Dots first, since they add no word to what is counted.
constexpr std::array kFillers = {" ...", " .", " -", " *", " and", " so",
                                 " the", " a", "\n", ".",  "a",    "e"};
constexpr std::int64_t kCloseEnough = 8;  // tokens; no search for the last unit below this

class Fitter {
 public:
  Fitter(const Tokenizer& tokenizer, const std::string& before, Draft& draft,
         const std::string& after, std::int64_t target, const std::string& what)
      : tokenizer_(tokenizer),
        before_(before),
        draft_(draft),
        after_(after),
        target_(target),
        what_(what) {}

  FittedText run() {
    const std::int64_t units = largest();
    // Another number of units where filler words cannot make up the rest.
    constexpr std::int64_t kTries = 8;
    for (std::int64_t fewer = 0; fewer < kTries && units - fewer >= draft_.least(); ++fewer) {
      if (auto fitted = with_filler(draft_.context(units - fewer))) return std::move(*fitted);
    }
    throw std::runtime_error(
        fmt::format("{}: no filler word of this tokenizer makes the prompt exactly {} tokens long",
                    what_, target_));
  }

 private:
  std::int64_t count(std::int64_t units) const {
    return size_of(tokenizer_.encode(before_ + draft_.context(units) + after_, false));
  }

  static std::int64_t size_of(const std::vector<TokenId>& tokens) {
    return static_cast<std::int64_t>(tokens.size());
  }

  // Tokens grow almost in proportion to units: a few secant steps find the largest number of units that fits.
  std::int64_t largest() const {
    const std::int64_t most = draft_.most();
    std::int64_t best = draft_.least();
    std::int64_t best_count = count(best);
    if (best_count > target_) {
      throw std::invalid_argument(
          fmt::format("{}: needs at least {} tokens, got {}", what_, best_count, target_));
    }
    std::optional<std::pair<std::int64_t, std::int64_t>> over;  // units, tokens
    double rate = 0;                                            // tokens a unit
    std::int64_t sample_units = std::max<std::int64_t>(32, best);
    while (target_ - best_count > kCloseEnough) {
      if (over && over->first == best + 1) break;
      if (best == most) {
        throw std::invalid_argument(
            fmt::format("{}: {} are {} tokens fewer than fill it: give more, or ask for a shorter "
                        "context",
                        what_, draft_.limit(), target_ - best_count));
      }
      std::int64_t next = best + sample_units;
      if (rate > 0) {
        next = best +
               std::max<std::int64_t>(
                   1, static_cast<std::int64_t>(static_cast<double>(target_ - best_count) / rate));
      }
      if (over) next = std::min(next, over->first - 1);
      next = std::min(next, most);
      const std::int64_t next_count = count(next);
      const double slope =
          static_cast<double>(next_count - best_count) / static_cast<double>(next - best);
      if (slope > 0)
        rate = slope;
      else
        sample_units *= 2;
      if (next_count <= target_) {
        best = next;
        best_count = next_count;
      } else {
        over = {next, next_count};
      }
    }
    return best;
  }

  // The context and as many filler words as make the text exactly as long as asked.
  std::optional<FittedText> with_filler(const std::string& context) const {
    const std::string without = before_ + context + after_;
    std::vector<TokenId> tokens = tokenizer_.encode(without, false);
    const std::int64_t missing = target_ - size_of(tokens);
    if (missing == 0) return FittedText{without, std::move(tokens)};
    if (missing < 0) return std::nullopt;
    for (const char* const filler : kFillers) {
      // Each pass adds the words that were missing: where they are one token each, the second is right at the latest.
      std::set<std::int64_t> tried;
      for (std::int64_t words = missing; words > 0 && tried.size() < 6;) {
        if (!tried.insert(words).second) break;
        std::string text = before_ + context + draft_.filler_lead;
        for (std::int64_t i = 0; i < words; ++i) text += filler;
        text += after_;
        tokens = tokenizer_.encode(text, false);
        if (size_of(tokens) == target_) return FittedText{std::move(text), std::move(tokens)};
        words += target_ - size_of(tokens);
      }
    }
    return std::nullopt;
  }

  const Tokenizer& tokenizer_;
  const std::string& before_;
  Draft& draft_;
  const std::string& after_;
  std::int64_t target_;
  const std::string& what_;
};

}  // namespace

std::int64_t least_tokens(const Tokenizer& tokenizer, const std::string& before, Draft& draft,
                          const std::string& after) {
  return static_cast<std::int64_t>(
      tokenizer.encode(before + draft.context(draft.least()) + after, false).size());
}

FittedText fit(const Tokenizer& tokenizer, const std::string& before, Draft& draft,
               const std::string& after, std::int64_t target, const std::string& what) {
  return Fitter(tokenizer, before, draft, after, target, what).run();
}

}  // namespace seer::ruler
