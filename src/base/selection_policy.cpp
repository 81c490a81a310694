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

constexpr std::array<std::pair<std::string_view, PolicySource>, 10> kSources = {{
    {"dense", PolicySource::kDense},
    {"gate", PolicySource::kGate},
    {"oracle", PolicySource::kOracle},
    {"streaming", PolicySource::kStreaming},
    {"meanpool", PolicySource::kMeanpool},
    {"random", PolicySource::kRandom},
    {"quest", PolicySource::kQuest},
    {"xattention", PolicySource::kXattention},
    {"minference", PolicySource::kMinference},
    {"flexprefill", PolicySource::kFlexprefill},
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

// A key of one source. It has a count or a share; the other is null.
struct OwnKey {
  std::string_view name;
  PolicySource source;
  std::int64_t SelectionPolicy::* count;
  std::int64_t smallest;  // of the count
  double SelectionPolicy::* share;
};

// In the order in which they are printed.
constexpr std::array<OwnKey, 4> kOwnKeys = {{
    {"stride", PolicySource::kXattention, &SelectionPolicy::stride, 1, nullptr},
    {"last", PolicySource::kMinference, &SelectionPolicy::last, 1, nullptr},
    {"tau", PolicySource::kFlexprefill, nullptr, 0, &SelectionPolicy::tau},
    {"min_budget", PolicySource::kFlexprefill, &SelectionPolicy::min_budget, 0, nullptr},
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

double parse_tau(std::string_view text, std::string_view key, std::string_view value) {
  const std::string expected = concat({"0 <= ", key, " <= 1"});
  const double share = parse_number<double>(text, key, value, expected);
  if (!(share >= 0.0 && share <= 1.0) || std::signbit(share)) {
    refuse(text, key, value, concat({"is out of range (expected ", expected, ")"}));
  }
  return share;
}

// The keys that a source takes, for errors.
std::string keys_of(PolicySource source) {
  std::string names = concat({names_of(kRules), ", ", names_of(kCounts)});
  for (const OwnKey& own : kOwnKeys) {
    if (own.source == source) names += concat({", ", own.name});
  }
  return names;
}

void parse_own_key(std::string_view text, const OwnKey& own, std::string_view value,
                   SelectionPolicy& policy) {
  if (own.source != policy.source) {
    refuse(text, own.name, value,
           concat({"is a key of ", policy_source_name(own.source), " and not of ",
                   policy_source_name(policy.source), " (expected ", keys_of(policy.source), ")"}));
  }
  if (own.count != nullptr) {
    policy.*own.count = parse_count(text, own.name, value, own.smallest);
  } else {
    policy.*own.share = parse_tau(text, own.name, value);
  }
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
  std::array<bool, kOwnKeys.size()> own_seen{};
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
      std::size_t index = 0;
      while (index < kOwnKeys.size() && kOwnKeys[index].name != key) ++index;
      if (index == kOwnKeys.size()) {
        refuse(text, concat({"unknown key '", key, "' (expected ", keys_of(policy.source), ")"}));
      }
      if (std::exchange(own_seen[index], true)) refuse(text, key, value, "is given twice");
      parse_own_key(text, kOwnKeys[index], value, policy);
    }
    if (item.size() == keys.size()) break;
    keys.remove_prefix(item.size() + 1);
  }
  // Other rules say the number of blocks themselves.
  if (own_seen.back() && policy.rule != PolicyRule::kMass && policy.rule != PolicyRule::kNone) {
    refuse(text, "min_budget", std::to_string(policy.min_budget),
           concat({"goes with mass and not with ", policy_rule_name(policy.rule),
                   ", which says itself how much is kept (leave it out)"}));
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
  constexpr SelectionPolicy kDefaults;
  for (const OwnKey& own : kOwnKeys) {
    if (own.source != source) continue;
    if (own.count != nullptr && this->*own.count != kDefaults.*own.count) {
      text += concat({",", own.name, "=", std::to_string(this->*own.count)});
    }
    if (own.share != nullptr && this->*own.share != kDefaults.*own.share) {
      text += concat({",", own.name, "=", print_share(this->*own.share)});
    }
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
