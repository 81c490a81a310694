// tokenizer.json, and the tokenizer it makes: whatever the file says, encoding ends in ids or in a message.
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "fuzz/fuzz_target.h"
#include "seer/tokenizer.h"

void seer::fuzz::parse_input(std::string_view input) {
  const Tokenizer tokenizer = Tokenizer::parse(input, "tokenizer.json");
  const std::string texts[] = {
      "", "It's 1234 of  <s>these</s>\r\n\n caf\xC3\xA9 e\xCC\x81\xCC\xA3 \xF0\x9F\x91\xA9",
      std::string(500, 'a') + std::string(50, ' ') + "!"};
  for (const std::string& text : texts) {
    const std::vector<TokenId> ids = tokenizer.encode(text);
    StreamingDecoder decoder(tokenizer);
    for (const TokenId id : ids) decoder.push(id);
    decoder.finish();
    tokenizer.decode(ids, true);
  }
  tokenizer.decode(std::vector<TokenId>{-1, std::numeric_limits<TokenId>::max()});
}
