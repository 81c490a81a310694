#include "seer/tokenizer.h"

#include <algorithm>
#include <mutex>
#include <stdexcept>
#include <system_error>
#include <unordered_map>
#include <utility>

#include "base/json.h"
#include "io/tokenizer/byte_level.h"
#include "io/tokenizer/normalizer.h"
#include "io/tokenizer/tokenizer_json.h"
#include "io/tokenizer/utf8.h"

namespace seer {

namespace {

// What one call of encode works in; kept for the next, since its cache makes text fast.
struct Scratch {
  explicit Scratch(const tok::PreTokenizer& pretokenizer) : pieces(pretokenizer) {}

  tok::PreTokenizer::Scratch pieces;
  tok::BpeScratch bpe;
};

struct Token {
  std::string text;
  std::string bytes;  // what it decodes to
  bool special = false;
};

}  // namespace

struct Tokenizer::Impl {
  explicit Impl(tok::TokenizerParts from) : parts(std::move(from)) {
    std::uint32_t highest = 0;
    const auto& vocabulary = parts.bpe.vocabulary().entries();
    for (const auto& entry : vocabulary) highest = std::max(highest, entry.id);
    for (const auto& token : parts.added_tokens) highest = std::max(highest, token.id);
    token_of_id.assign(std::size_t{highest} + 1, -1);
    tokens.reserve(vocabulary.size() + parts.added_tokens.size());
    for (const auto& entry : vocabulary) add(entry.token, entry.id, false);
    for (const auto& token : parts.added_tokens) {
      add(token.content, token.id, token.special);
      added_ids.emplace(token.content, token.id);
      if (!token.normalized) {
        raw_tokens.add(token.content, token);
      } else {
        normalized_tokens.add(parts.nfc ? tok::nfc(token.content) : token.content, token);
      }
    }
  }

  void add(const std::string& text, std::uint32_t id, bool special) {
    if (token_of_id[id] < 0) {
      token_of_id[id] = static_cast<std::int32_t>(tokens.size());
      tokens.emplace_back();
    }
    tokens[token_of_id[id]] = {text, tok::token_bytes(text).value_or(text), special};
  }

  const Token* find(TokenId id) const {
    if (id < 0 || id >= static_cast<TokenId>(token_of_id.size()) || token_of_id[id] < 0)
      return nullptr;
    return &tokens[token_of_id[id]];
  }

  // The bytes of a token, none for an id without one: models have more rows than their tokenizers have tokens.
  std::string_view bytes_of(TokenId id, bool skip_special_tokens) const {
    const Token* token = find(id);
    if (token == nullptr || (skip_special_tokens && token->special)) return {};
    return token->bytes;
  }

  std::vector<TokenId> encode(std::string_view text, Scratch& scratch) const {
    std::vector<TokenId> ids;
    const auto on_token = [&](std::uint32_t id) { ids.push_back(id); };
    const auto on_piece = [&](std::string_view piece) {
      parts.bpe.encode(piece, scratch.bpe, ids);
    };
    const auto on_normalized = [&](std::string_view part) {
      parts.pretokenizer.split(part, scratch.pieces, on_piece);
    };
    const auto on_raw = [&](std::string_view part) {
      if (parts.nfc) {
        normalized_tokens.split(tok::nfc(part), on_normalized, on_token);
      } else {
        normalized_tokens.split(part, on_normalized, on_token);
      }
    };
    raw_tokens.split(text, on_raw, on_token);
    return ids;
  }

  std::unique_ptr<Scratch> take_scratch() {
    {
      const std::lock_guard lock(mutex);
      if (!idle.empty()) {
        auto scratch = std::move(idle.back());
        idle.pop_back();
        return scratch;
      }
    }
    return std::make_unique<Scratch>(parts.pretokenizer);
  }

  void give_back(std::unique_ptr<Scratch> scratch) {
    const std::lock_guard lock(mutex);
    idle.push_back(std::move(scratch));
  }

  tok::TokenizerParts parts;
  std::vector<std::int32_t> token_of_id;  // -1: no such id
  std::vector<Token> tokens;
  std::unordered_map<std::string, std::uint32_t> added_ids;
  tok::AddedTokenMatcher raw_tokens;
  tok::AddedTokenMatcher normalized_tokens;
  std::mutex mutex;
  std::vector<std::unique_ptr<Scratch>> idle;
};

Tokenizer Tokenizer::load(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "tokenizer.json";
  std::error_code error;
  if (std::filesystem::status(file, error).type() == std::filesystem::file_type::not_found) {
    const bool other = std::filesystem::exists(folder / "tokenizer.model", error);
    throw std::runtime_error(file.string() + ": no such file" +
                             (other ? "; tokenizer.model (SentencePiece) is not read: convert it"
                                    : ": download the model's tokenizer too"));
  }
  return Tokenizer(
      std::make_unique<Impl>(tok::read_tokenizer_json(read_json_file(file), file.string())));
}

Tokenizer Tokenizer::parse(std::string_view json, const std::string& source) {
  return Tokenizer(
      std::make_unique<Impl>(tok::read_tokenizer_json(parse_json(json, source), source)));
}

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

std::vector<TokenId> Tokenizer::encode(std::string_view text, bool add_special_tokens) const {
  if (const auto offset = tok::first_invalid_byte(text)) {
    throw std::runtime_error("the text is not valid UTF-8 at byte " + std::to_string(*offset));
  }
  auto scratch = impl_->take_scratch();
  std::vector<TokenId> ids = impl_->encode(text, *scratch);
  impl_->give_back(std::move(scratch));
  for (const auto& pieces : impl_->parts.templates)
    ids = tok::apply(pieces, ids, add_special_tokens);
  return ids;
}

std::string Tokenizer::decode(std::span<const TokenId> ids, bool skip_special_tokens) const {
  std::string bytes;
  for (const TokenId id : ids) bytes += impl_->bytes_of(id, skip_special_tokens);
  std::string text;
  text.reserve(bytes.size());
  tok::append_lossy(bytes, true, text);
  return text;
}

std::size_t Tokenizer::vocab_size() const {
  return impl_->token_of_id.size();
}

std::optional<TokenId> Tokenizer::token_to_id(std::string_view token) const {
  const std::string text(token);
  if (const auto added = impl_->added_ids.find(text); added != impl_->added_ids.end())
    return added->second;
  if (const auto id = impl_->parts.bpe.vocabulary().find(token)) return *id;
  return std::nullopt;
}

std::optional<std::string> Tokenizer::id_to_token(TokenId id) const {
  const Token* token = impl_->find(id);
  if (token == nullptr) return std::nullopt;
  return token->text;
}

bool Tokenizer::is_special(TokenId id) const {
  const Token* token = impl_->find(id);
  return token != nullptr && token->special;
}

StreamingDecoder::StreamingDecoder(const Tokenizer& tokenizer, bool skip_special_tokens)
    : tokenizer_(&tokenizer), skip_special_tokens_(skip_special_tokens) {}

std::string StreamingDecoder::push(TokenId id) {
  pending_ += tokenizer_->impl_->bytes_of(id, skip_special_tokens_);
  std::string text;
  pending_.erase(0, tok::append_lossy(pending_, false, text));
  return text;
}

std::string StreamingDecoder::finish() {
  std::string text;
  tok::append_lossy(pending_, true, text);
  pending_.clear();
  return text;
}

}  // namespace seer
