// tokenizer.json, the file of the `tokenizers` package.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "io/tokenizer/added_tokens.h"
#include "io/tokenizer/bpe.h"
#include "io/tokenizer/json_node.h"
#include "io/tokenizer/pretokenizer.h"
#include "io/tokenizer/template.h"

namespace seer::tok {

struct TokenizerParts {
  Bpe bpe;
  std::vector<AddedToken> added_tokens;
  bool nfc = false;
  PreTokenizer pretokenizer;
  std::vector<Template> templates;  // applied one after the other
};

// Throws std::runtime_error that names the source, the JSON path and the value for anything that is wrong or is not
// supported.
TokenizerParts read_tokenizer_json(const Json& json, const std::string& source);

// Its parts.
Bpe read_bpe(const JsonNode& model);
PreTokenizer read_pretokenizer(const JsonNode& node);

}  // namespace seer::tok
