// Byte-level BPE tokenizers in Hugging Face's tokenizer.json.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace seer {

using TokenId = std::int64_t;

// Thread-safe once loaded.
class Tokenizer {
 public:
  // Reads tokenizer.json (and nothing else) from a model folder. Throws std::runtime_error naming the JSON path of
  // anything that is not supported.
  static Tokenizer load(const std::filesystem::path& folder);

  // The same for the text of a tokenizer.json; messages begin with `source`.
  static Tokenizer parse(std::string_view json, const std::string& source);

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // The ids of UTF-8 text; special tokens written in the text are recognised, as the `tokenizers` package does.
  // add_special_tokens applies the template post-processor (a BOS token, say). Throws for invalid UTF-8, with the byte
  // offset, and where a split pattern takes too many steps.
  std::vector<TokenId> encode(std::string_view text, bool add_special_tokens = true) const;

  // The text of the ids; bytes that are not UTF-8 become U+FFFD, and ids without a token become nothing.
  std::string decode(std::span<const TokenId> ids, bool skip_special_tokens = false) const;

  std::size_t vocab_size() const;  // highest id + 1, added tokens included
  std::optional<TokenId> token_to_id(std::string_view token) const;
  std::optional<std::string> id_to_token(TokenId id) const;
  bool is_special(TokenId id) const;

  struct Impl;

 private:
  friend class StreamingDecoder;

  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Turns a stream of ids into a stream of text that never ends inside a UTF-8 character.
class StreamingDecoder {
 public:
  // `tokenizer` must outlive the decoder.
  explicit StreamingDecoder(const Tokenizer& tokenizer, bool skip_special_tokens = true);
  std::string push(TokenId id);  // the text that became complete
  std::string finish();          // what is left, invalid bytes replaced by U+FFFD

 private:
  const Tokenizer* tokenizer_;
  bool skip_special_tokens_;
  std::string pending_;
};

}  // namespace seer
