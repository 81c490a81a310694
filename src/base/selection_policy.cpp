#include "base/selection_policy.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <initializer_list>
#include <optional>
#include <stdexcept>
#include <utility>

namespace seer {
namespace {

constexpr std::array<std::pair<std::string_view, PolicySource>, 6> kSources = {{
    {"dense", PolicySource::kDense},
    {"gate", PolicySource::kGate},
    {"oracle", PolicySource::kOracle},
    {"streaming", PolicySource::kStreaming},
    {"meanpool", PolicySource::kMeanpool},
    {"random", PolicySource::kRandom},
}};

constexpr std::array<std::pair<std::string_view, PolicyRule>, 5> kRules = {{
    {"ratio", PolicyRule::kRatio},
    {"density", PolicyRule::kDensity},
    {"threshold", PolicyRule::kThreshold},
    {"mass", PolicyRule::kMass},
    {"budget", PolicyRule::kBudget},
}};

// In the order in which they are printed.
constexpr std::array<std::pair<std::string_view, std::int64_t SelectionPolicy::*>, 4> kCounts = {{
    {"sink", &SelectionPolicy::sink},
    {"local", &SelectionPolicy::local},
    {"dense_rows", &SelectionPolicy::dense_rows},
    {"start_layer", &SelectionPolicy::start_layer},
}};

template <typename Value, std::size_t kSize>
std::string names_of(const std::array<std::pair<std::string_view, Value>, kSize>& table) {
  std::string names;
  for (const auto& [name, value] : table) {
    if (!names.empty()) names += ", ";
    names += name;
  }
  return names;
}

template <typename Value, std::size_t kSize>
std::optional<Value> find(const std::array<std::pair<std::string_view, Value>, kSize>& table,
                          std::string_view asked) {
  for (const auto& [name, value] : table) {
    if (name == asked) return value;
  }
  return std::nullopt;
}

std::string concat(std::initializer_list<std::string_view> parts) {
  std::string text;
  for (std::string_view part : parts) text += part;
  return text;
}

[[noreturn]] void refuse(std::string_view text, std::string_view why) {
  throw std::invalid_argument(concat({"policy '", text, "': ", why}));
}

[[noreturn]] void refuse(std::string_view text, std::string_view key, std::string_view value,
                         std::string_view why) {
  refuse(text, concat({key, "=", value, " ", why}));
}

// A number that fills all of `value`. from_chars knows no locale, no white space and no plus sign.
template <typename Number>
Number parse_number(std::string_view text, std::string_view key, std::string_view value,
                    std::string_view expected) {
  Number number{};
  const char* end = value.data() + value.size();
  const auto [stop, error] = std::from_chars(value.data(), end, number);
  if (error == std::errc::result_out_of_range) {
    refuse(text, key, value, concat({"is out of range (expected ", expected, ")"}));
  }
  if (error != std::errc() || stop != end) {
    refuse(text, key, value, concat({"is not a number (expected ", expected, ")"}));
  }
  return number;
}

double parse_share(std::string_view text, std::string_view key, std::string_view value,
                   PolicyRule rule) {
  const bool is_threshold = rule == PolicyRule::kThreshold;
  const std::string expected = is_threshold ? "0 <= threshold < 1" : concat({"0 < ", key, " <= 1"});
  const double share = parse_number<double>(text, key, value, expected);
  const bool accepted = std::isfinite(share) && !std::signbit(share) &&
                        (is_threshold ? share < 1.0 : share > 0.0 && share <= 1.0);
  if (!accepted) refuse(text, key, value, concat({"is out of range (expected ", expected, ")"}));
  return share;
}

std::int64_t parse_count(std::string_view text, std::string_view key, std::string_view value,
                         std::int64_t smallest) {
  const std::string expected = concat({"an integer >= ", std::to_string(smallest)});
  const auto count = parse_number<std::int64_t>(text, key, value, expected);
  if (count < smallest || value.front() == '-') {
    refuse(text, key, value, concat({"is out of range (expected ", expected, ")"}));
  }
  return count;
}

// Shortest text that reads back as the same value, without the zeros that to_chars puts into an
// exponent: 5e-4, not 5e-04.
std::string print_share(double share) {
  std::array<char, 32> buffer{};
  const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), share);
  std::string text(buffer.data(), end);
  const std::size_t exponent = text.find('e');
  if (exponent != std::string::npos) {
    const std::size_t digits = exponent + 2;  // after the sign, which to_chars always writes
    text.erase(digits, text.find_first_not_of('0', digits) - digits);
  }
  return text;
}

// Everything after the colon of `text`.
void parse_keys(std::string_view text, std::string_view keys, SelectionPolicy& policy) {
  std::array<bool, kCounts.size()> seen{};
  while (true) {
    const std::string_view item = keys.substr(0, keys.find(','));
    const std::size_t equals = item.find('=');
    const std::string_view key = item.substr(0, equals);
    if (key.empty() || equals == std::string_view::npos) {
      refuse(text, concat({"'", item, "' is not of the form key=value"}));
    }
    const std::string_view value = item.substr(equals + 1);
    if (value.empty()) refuse(text, key, value, "has no value");

    if (const auto rule = find(kRules, key)) {
      if (policy.rule == *rule) refuse(text, key, value, "is given twice");
      if (policy.rule != PolicyRule::kNone) {
        refuse(text, key, value,
               concat({"is a second rule beside ", policy_rule_name(policy.rule),
                       " (expected exactly one of ", names_of(kRules), ")"}));
      }
      policy.rule = *rule;
      if (*rule == PolicyRule::kBudget) {
        policy.budget = parse_count(text, key, value, 1);
      } else {
        policy.value = parse_share(text, key, value, *rule);
      }
    } else if (const auto count = find(kCounts, key)) {
      std::size_t index = 0;
      while (kCounts[index].second != *count) ++index;
      if (std::exchange(seen[index], true)) refuse(text, key, value, "is given twice");
      policy.*(*count) = parse_count(text, key, value, 0);
    } else {
      refuse(text, concat({"unknown key '", key, "' (expected ", names_of(kRules), ", ",
                           names_of(kCounts), ")"}));
    }
    if (item.size() == keys.size()) return;
    keys.remove_prefix(item.size() + 1);
  }
}

}  // namespace

std::string_view policy_source_name(PolicySource source) {
  for (const auto& [name, value] : kSources) {
    if (value == source) return name;
  }
  return "unknown";
}

std::string_view policy_rule_name(PolicyRule rule) {
  for (const auto& [name, value] : kRules) {
    if (value == rule) return name;
  }
  return "none";
}

SelectionPolicy SelectionPolicy::parse(std::string_view text) {
  const std::size_t colon = text.find(':');
  const std::string_view name = text.substr(0, colon);
  const auto source = find(kSources, name);
  if (!source) {
    refuse(text, concat({"unknown source '", name, "' (expected ", names_of(kSources), ")"}));
  }
  SelectionPolicy policy;
  policy.source = *source;
  if (*source == PolicySource::kDense) {
    if (colon != std::string_view::npos) refuse(text, "dense takes no keys (expected 'dense')");
    return policy;
  }
  if (colon != std::string_view::npos) parse_keys(text, text.substr(colon + 1), policy);
  if (policy.rule == PolicyRule::kNone) {
    refuse(text, concat({"no rule (expected exactly one of ", names_of(kRules), ", as in '", name,
                         ":ratio=0.1')"}));
  }
  return policy;
}

std::string SelectionPolicy::to_string() const {
  if (source == PolicySource::kDense) return std::string(policy_source_name(source));
  std::string text =
      concat({policy_source_name(source), ":", policy_rule_name(rule), "=",
              rule == PolicyRule::kBudget ? std::to_string(budget) : print_share(value)});
  for (const auto& [name, count] : kCounts) {
    if (this->*count != 0) text += concat({",", name, "=", std::to_string(this->*count)});
  }
  return text;
}

std::int64_t blocks_of_ratio(double ratio, std::int64_t num_kv_blocks) {
  const double share = 1.0 - std::sqrt(1.0 - ratio);
  return std::max<std::int64_t>(
      1, static_cast<std::int64_t>(share * static_cast<double>(num_kv_blocks)));
}

std::int64_t blocks_of_budget(std::int64_t tokens, std::int64_t block_size) {
  return std::max<std::int64_t>(1, tokens / block_size);
}

}  // namespace seer
