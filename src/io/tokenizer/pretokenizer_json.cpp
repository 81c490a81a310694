// tokenizer.json: "pre_tokenizer".
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "base/quote.h"
#include "io/tokenizer/tokenizer_json.h"

namespace seer::tok {
namespace {

constexpr std::size_t kMaxSteps = 32;

SplitBehavior read_behavior(const JsonNode& node) {
  const std::string& name = node.string();
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  node.fail_unsupported(
      {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"});
}

SplitStep read_split(const JsonNode& node) {
  node.expect_fields({"type", "pattern", "behavior", "invert"});
  const SplitBehavior behavior = read_behavior(node["behavior"]);
  const bool invert = node["invert"].boolean();
  const JsonNode pattern = node["pattern"];
  pattern.expect_fields({"String", "Regex"});
  if (pattern.has("String")) {
    const std::string& text = pattern["String"].string();
    if (text.empty()) pattern["String"].fail("an empty text to split at is not supported");
    return {text, behavior, invert};
  }
  const std::string& text = pattern["Regex"].string();
  if (const auto known = known_pattern(text)) return {*known, behavior, invert};
  try {
    return {Regex(text), behavior, invert};
  } catch (const std::runtime_error& error) {
    pattern["Regex"].fail(quote(text) + ": " + error.what());
  }
}

// Adds a step's parts; `byte_level` says whether the bytes have become characters already.
void read_step(const JsonNode& node, std::vector<PreTokenizer::Step>& steps, bool& byte_level) {
  if (steps.size() >= kMaxSteps) node.fail("more than " + std::to_string(kMaxSteps) + " steps");
  const std::string& type = node.type();
  if (type == "Sequence") {
    node.expect_fields({"type", "pretokenizers"});
    for (const JsonNode& step : node["pretokenizers"].elements())
      read_step(step, steps, byte_level);
    return;
  }
  if (byte_level) node.fail("a step behind ByteLevel is not supported");
  if (type == "ByteLevel") {
    node.expect_fields(
        {"type", "add_prefix_space", "trim_offsets", "use_regex"});  // trim_offsets: no ids change
    if (node["add_prefix_space"].boolean()) steps.emplace_back(PrefixSpaceStep{});
    if (node.boolean_or("use_regex", true)) steps.emplace_back(SplitStep{KnownPattern::kGpt2});
    byte_level = true;
  } else if (type == "Split") {
    steps.emplace_back(read_split(node));
  } else {
    node["type"].fail_unsupported({"ByteLevel", "Sequence", "Split"});
  }
}

}  // namespace

PreTokenizer read_pretokenizer(const JsonNode& node) {
  if (node.is_null())
    node.fail("null is not supported (supported: ByteLevel, or a Sequence that ends in it)");
  std::vector<PreTokenizer::Step> steps;
  bool byte_level = false;
  read_step(node, steps, byte_level);
  if (!byte_level)
    node.fail(
        "without ByteLevel it is not supported (supported: ByteLevel, or a Sequence that ends in "
        "it)");
  return PreTokenizer(std::move(steps));
}

}  // namespace seer::tok
