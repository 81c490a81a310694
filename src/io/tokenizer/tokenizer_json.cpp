#include "io/tokenizer/tokenizer_json.h"

#include <algorithm>
#include <optional>
#include <unordered_set>
#include <utility>

#include "base/quote.h"

namespace seer::tok {
namespace {

bool reads_nfc(const JsonNode& node) {
  if (node.is_null()) return false;
  const std::string& type = node.type();
  if (type == "NFC") {
    node.expect_fields({"type"});
    return true;
  }
  if (type != "Sequence") node["type"].fail_unsupported({"NFC", "Sequence"});
  node.expect_fields({"type", "normalizers"});
  bool nfc = false;
  for (const JsonNode& step : node["normalizers"].elements()) nfc = reads_nfc(step) || nfc;
  return nfc;
}

Template read_template(const JsonNode& node) {
  node.expect_fields({"type", "single", "pair", "special_tokens"});
  const JsonNode special_tokens = node["special_tokens"];
  Template pieces;
  for (const JsonNode& element : node["single"].elements()) {
    element.expect_fields({"Sequence", "SpecialToken"});
    if (element.has("Sequence")) {
      const JsonNode id = element["Sequence"]["id"];
      if (id.string() != "A") id.fail_unsupported({"A"});
      pieces.push_back(std::nullopt);
      continue;
    }
    const JsonNode id = element["SpecialToken"]["id"];
    if (!special_tokens.has(id.string()))
      id.fail(quote(id.string()) + " is not among the special_tokens");
    std::vector<std::uint32_t> ids;
    for (const JsonNode& token : special_tokens[id.string()]["ids"].elements())
      ids.push_back(token.id());
    pieces.push_back(std::move(ids));
  }
  return pieces;
}

void read_postprocessor(const JsonNode& node, std::vector<Template>& templates) {
  if (node.is_null()) return;
  const std::string& type = node.type();
  if (type == "ByteLevel") return;  // it changes offsets only
  if (type == "TemplateProcessing") {
    templates.push_back(read_template(node));
  } else if (type == "Sequence") {
    node.expect_fields({"type", "processors"});
    for (const JsonNode& step : node["processors"].elements()) read_postprocessor(step, templates);
  } else {
    node["type"].fail_unsupported({"ByteLevel", "Sequence", "TemplateProcessing"});
  }
}

// Decoding is that of ByteLevel; Fuse behind it has nothing left to join.
void check_decoder(const JsonNode& node, bool& byte_level) {
  if (node.is_null()) node.fail("null is not supported (supported: ByteLevel)");
  const std::string& type = node.type();
  if (type == "ByteLevel") {
    if (byte_level) node.fail("a second ByteLevel is not supported");
    byte_level = true;
  } else if (type == "Sequence") {
    node.expect_fields({"type", "decoders"});
    for (const JsonNode& step : node["decoders"].elements()) check_decoder(step, byte_level);
  } else if (type == "Fuse") {
    if (!byte_level) node["type"].fail("\"Fuse\" is supported behind ByteLevel only");
  } else {
    node["type"].fail_unsupported({"ByteLevel", "Fuse", "Sequence"});
  }
}

// The package gives ids by place and only warns where the file says otherwise; such a file is refused here.
std::vector<AddedToken> read_added_tokens(const JsonNode& node, const Vocabulary& vocabulary) {
  std::unordered_set<std::uint32_t> used;
  used.reserve(vocabulary.entries().size());
  for (const auto& entry : vocabulary.entries()) used.insert(entry.id);
  std::unordered_set<std::string> contents;
  std::optional<std::uint32_t> highest;
  std::vector<AddedToken> tokens;
  const auto size = static_cast<std::uint32_t>(vocabulary.entries().size());
  for (const JsonNode& element : node.elements()) {
    element.expect_fields(
        {"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
    AddedToken token;
    token.id = element["id"].id();
    token.content = element["content"].string();
    token.single_word = element["single_word"].boolean();
    token.lstrip = element["lstrip"].boolean();
    token.rstrip = element["rstrip"].boolean();
    token.normalized = element["normalized"].boolean();
    token.special = element["special"].boolean();
    if (token.content.empty()) element["content"].fail("an added token must not be empty");
    if (!contents.insert(token.content).second) {
      element["content"].fail("the token " + quote(token.content) + " is added twice");
    }
    const auto known = vocabulary.find(token.content);
    const std::uint32_t expected = known                         ? *known
                                   : highest && *highest >= size ? *highest + 1
                                                                 : size;
    if (token.id != expected) {
      element["id"].fail("the token " + quote(token.content) + " has the id " +
                         std::to_string(token.id) + ", but its place in the vocabulary is " +
                         std::to_string(expected));
    }
    if (!known && !used.insert(token.id).second) {
      element["id"].fail("the id " + std::to_string(token.id) + " belongs to two tokens");
    }
    highest = std::max(highest.value_or(0), token.id);
    tokens.push_back(std::move(token));
  }
  return tokens;
}

}  // namespace

TokenizerParts read_tokenizer_json(const Json& json, const std::string& source) {
  const JsonNode root(json, source, "");
  root.expect_fields({"version", "truncation", "padding", "added_tokens", "normalizer",
                      "pre_tokenizer", "post_processor", "decoder", "model"});
  if (root.has("version") && root["version"].string() != "1.0")
    root["version"].fail_unsupported({"1.0"});
  for (const char* name : {"truncation", "padding"}) {
    if (root.has(name) && !root[name].is_null()) root[name].fail_unsupported({"null"});
  }
  bool byte_level = false;
  check_decoder(root["decoder"], byte_level);
  if (!byte_level) root["decoder"].fail("expected ByteLevel");
  std::vector<Template> templates;
  if (root.has("post_processor")) read_postprocessor(root["post_processor"], templates);
  const bool nfc = root.has("normalizer") && reads_nfc(root["normalizer"]);
  PreTokenizer pretokenizer = read_pretokenizer(root["pre_tokenizer"]);
  Bpe bpe = read_bpe(root["model"]);
  std::vector<AddedToken> added_tokens;
  if (root.has("added_tokens"))
    added_tokens = read_added_tokens(root["added_tokens"], bpe.vocabulary());
  return {std::move(bpe), std::move(added_tokens), nfc, std::move(pretokenizer),
          std::move(templates)};
}

}  // namespace seer::tok
