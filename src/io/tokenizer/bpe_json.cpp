// tokenizer.json: "model".
#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/quote.h"
#include "io/tokenizer/tokenizer_json.h"

namespace seer::tok {
namespace {

// Fields that would change how text is split, where they are set.
void expect_unused(const JsonNode& model) {
  for (const char* name : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!model.has(name) || model[name].is_null()) continue;
    if (!model[name].string().empty()) model[name].fail_unsupported({"null", "\"\""});
  }
  if (model.has("dropout") && !model["dropout"].is_null())
    model["dropout"].fail_unsupported({"null"});
}

Vocabulary read_vocabulary(const JsonNode& node) {
  Vocabulary vocabulary(node.object().size());
  for (const auto& [token, value] : node.object().items()) {
    const bool is_id = value.is_number_unsigned() && value.get<std::uint64_t>() <= kMaxId;
    vocabulary.insert(
        token, is_id ? value.get<std::uint32_t>() : node[token].id());  // id() has the message
  }
  std::vector<const Vocabulary::Entry*> by_id;
  by_id.reserve(vocabulary.entries().size());
  for (const auto& entry : vocabulary.entries()) by_id.push_back(&entry);
  std::ranges::sort(by_id, {}, &Vocabulary::Entry::id);
  const auto twice = std::ranges::adjacent_find(by_id, {}, &Vocabulary::Entry::id);
  if (twice != by_id.end()) {
    node.fail("the id " + std::to_string((*twice)->id) + " belongs to two tokens, " +
              quote((*twice)->token) + " and " + quote(twice[1]->token));
  }
  return vocabulary;
}

struct TokenPair {
  std::string_view left;
  std::string_view right;
};

// "left right", or ["left", "right"]; none where it is neither.
std::optional<TokenPair> read_pair(const Json& merge) {
  if (merge.is_string()) {
    const std::string_view text = merge.get_ref<const std::string&>();
    const std::size_t space = text.find(' ');
    if (space != std::string_view::npos && text.find(' ', space + 1) == std::string_view::npos) {
      return TokenPair{text.substr(0, space), text.substr(space + 1)};
    }
  } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
             merge[1].is_string()) {
    return TokenPair{merge[0].get_ref<const std::string&>(),
                     merge[1].get_ref<const std::string&>()};
  }
  return std::nullopt;
}

MergeMap read_merges(const JsonNode& node, const Json& merges, const Vocabulary& vocabulary) {
  MergeMap map(merges.size());
  std::string joined;
  std::uint32_t rank = 0;
  for (std::size_t i = 0; i < merges.size(); ++i) {
    const Json& merge = merges[i];
    if (merge.is_string() && merge.get_ref<const std::string&>().starts_with("#version")) continue;
    const auto pair = read_pair(merge);
    if (!pair)
      node.elements()[i].fail(
          "expected a merge of two tokens, \"left right\" or [\"left\", \"right\"]");
    const auto id_of = [&](std::string_view token) {
      const auto id = vocabulary.find(token);
      if (!id) node.elements()[i].fail("the token " + quote(token) + " is not in the vocabulary");
      return *id;
    };
    const std::uint32_t left = id_of(pair->left);
    const std::uint32_t right = id_of(pair->right);
    joined.assign(pair->left).append(pair->right);
    map.set(left, right, {rank++, id_of(joined)});
  }
  return map;
}

}  // namespace

Bpe read_bpe(const JsonNode& model) {
  model.expect_fields({"type", "dropout", "unk_token", "continuing_subword_prefix",
                       "end_of_word_suffix", "fuse_unk", "byte_fallback", "ignore_merges", "vocab",
                       "merges"});
  if (model.has("type") && model.type() != "BPE")
    model["type"].fail_unsupported({"BPE"});  // older files have none
  expect_unused(model);
  Vocabulary vocabulary = read_vocabulary(model["vocab"]);
  if (vocabulary.entries().empty()) model["vocab"].fail("the vocabulary is empty");
  const JsonNode merges_node = model["merges"];
  const Json& merges = model.object()["merges"];
  if (!merges.is_array()) merges_node.elements();  // has the message
  MergeMap map = read_merges(merges_node, merges, vocabulary);
  BpeOptions options;
  options.ignore_merges = model.boolean_or("ignore_merges", false);
  options.byte_fallback = model.boolean_or("byte_fallback", false);
  options.fuse_unk = model.boolean_or("fuse_unk", false);
  if (model.has("unk_token") && !model["unk_token"].is_null()) {
    const std::string& token = model["unk_token"].string();
    const auto found = vocabulary.find(token);
    if (!found) model["unk_token"].fail("the token " + quote(token) + " is not in the vocabulary");
    options.unk_id = found;
  }
  return {std::move(vocabulary), std::move(map), options};
}

}  // namespace seer::tok
