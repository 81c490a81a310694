// tokenizer.json: "model".
#include <string>
#include <unordered_map>
#include <utility>

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
  if (model.has("dropout") && !model["dropout"].is_null()) model["dropout"].fail_unsupported({"null"});
}

Vocabulary read_vocabulary(const JsonNode& node) {
  Vocabulary vocabulary;
  vocabulary.reserve(node.object().size());
  std::unordered_map<std::uint32_t, const std::string*> owners;
  owners.reserve(node.object().size());
  for (const auto& [token, value] : node.object().items()) {
    const bool is_id = value.is_number_unsigned() && value.get<std::uint64_t>() <= kMaxId;
    const std::uint32_t id = is_id ? value.get<std::uint32_t>() : node[token].id();  // id() has the message
    const auto [entry, is_new] = vocabulary.try_emplace(token, id);
    const auto [owner, is_first] = owners.try_emplace(id, &entry->first);
    if (!is_first) {
      node.fail("the id " + std::to_string(id) + " belongs to two tokens, " + quote(*owner->second) + " and " +
                quote(token));
    }
  }
  return vocabulary;
}

// "left right", or ["left", "right"].
std::pair<std::string, std::string> read_pair(const Json& merge, const JsonNode& merges, std::size_t index) {
  if (merge.is_string()) {
    const auto& text = merge.get_ref<const std::string&>();
    const std::size_t space = text.find(' ');
    if (space != std::string::npos && text.find(' ', space + 1) == std::string::npos) {
      return {text.substr(0, space), text.substr(space + 1)};
    }
  } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
    return {merge[0].get<std::string>(), merge[1].get<std::string>()};
  }
  merges.elements()[index].fail("expected a merge of two tokens, \"left right\" or [\"left\", \"right\"]");
}

MergeMap read_merges(const JsonNode& model, const Json& merges, const Vocabulary& vocabulary) {
  MergeMap map(merges.size());
  const auto id_of = [&](const std::string& token, std::size_t index) {
    const auto found = vocabulary.find(token);
    if (found == vocabulary.end()) {
      model["merges"].elements()[index].fail("the token " + quote(token) + " is not in the vocabulary");
    }
    return found->second;
  };
  std::uint32_t rank = 0;
  for (std::size_t i = 0; i < merges.size(); ++i) {
    if (merges[i].is_string() && merges[i].get_ref<const std::string&>().starts_with("#version")) continue;
    const auto [left, right] = read_pair(merges[i], model["merges"], i);
    const std::uint32_t left_id = id_of(left, i);
    const std::uint32_t right_id = id_of(right, i);
    map.set(left_id, right_id, {rank++, id_of(left + right, i)});
  }
  return map;
}

}  // namespace

Bpe read_bpe(const JsonNode& model) {
  model.expect_fields({"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk",
                       "byte_fallback", "ignore_merges", "vocab", "merges"});
  if (model.has("type") && model.type() != "BPE") model["type"].fail_unsupported({"BPE"});  // older files have none
  expect_unused(model);
  Vocabulary vocabulary = read_vocabulary(model["vocab"]);
  if (vocabulary.empty()) model["vocab"].fail("the vocabulary is empty");
  const JsonNode merges_node = model["merges"];
  const Json& merges = model.object()["merges"];
  if (!merges.is_array()) merges_node.elements();  // has the message
  MergeMap map = read_merges(model, merges, vocabulary);
  BpeOptions options;
  options.ignore_merges = model.boolean_or("ignore_merges", false);
  options.byte_fallback = model.boolean_or("byte_fallback", false);
  options.fuse_unk = model.boolean_or("fuse_unk", false);
  if (model.has("unk_token") && !model["unk_token"].is_null()) {
    const std::string& token = model["unk_token"].string();
    const auto found = vocabulary.find(token);
    if (found == vocabulary.end()) model["unk_token"].fail("the token " + quote(token) + " is not in the vocabulary");
    options.unk_id = found->second;
  }
  return {std::move(vocabulary), std::move(map), options};
}

}  // namespace seer::tok
