// Byte-pair encoding of one piece of text.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "io/tokenizer/flat_map.h"

namespace seer::tok {

struct BpeOptions {
  bool ignore_merges = false;  // a piece that is a token is not split
  bool byte_fallback = false;
  bool fuse_unk = false;
  std::optional<std::uint32_t> unk_id;
};

// What encoding needs besides the tokenizer; one a thread.
struct BpeScratch {
  PieceCache cache;
  std::vector<std::uint32_t> ids;
};

class Bpe {
 public:
  // `merges` are pairs of ids with what they become, by rank.
  Bpe(Vocabulary vocabulary, MergeMap merges, const BpeOptions& options);

  // Appends the ids of a piece's bytes.
  void encode(std::string_view piece, BpeScratch& scratch, std::vector<std::int64_t>& out) const;

  const Vocabulary& vocabulary() const { return vocabulary_; }

 private:
  void merge_piece(std::string_view piece, std::vector<std::uint32_t>& ids) const;
  void first_ids(std::string_view piece, std::vector<std::uint32_t>& ids) const;
  void merge_short(std::vector<std::uint32_t>& ids) const;
  void merge_long(std::vector<std::uint32_t>& ids) const;

  Vocabulary vocabulary_;
  MergeMap merges_;
  BpeOptions options_;
  std::array<std::optional<std::uint32_t>, 256> byte_ids_;
  std::array<std::vector<std::uint32_t>, 256> fallback_ids_;  // of bytes without a token
};

}  // namespace seer::tok
