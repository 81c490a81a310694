// Open-addressing hash maps that are filled once and read often.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace seer::tok {

inline std::uint64_t mix(std::uint64_t x) {
  x *= 0x9E3779B97F4A7C15u;
  return x ^ x >> 32;
}

inline std::uint64_t hash_bytes(std::string_view bytes) {
  std::uint64_t hash = bytes.size() * 0xD6E8FEB86659FD93u;
  const char* data = bytes.data();
  std::size_t left = bytes.size();
  for (; left >= 8; left -= 8, data += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, data, 8);
    hash = mix(hash ^ word);
  }
  std::uint64_t word = 0;
  std::memcpy(&word, data, left);
  return mix(mix(hash ^ word));
}

// Tokens to their ids.
class Vocabulary {
 public:
  // Room for this many tokens.
  explicit Vocabulary(std::size_t count = 0)
      : slots_(std::bit_ceil(count + count / 2 + 2)), mask_(slots_.size() - 1) {
    entries_.reserve(count);
  }

  struct Entry {
    std::string token;
    std::uint32_t id;
  };

  std::optional<std::uint32_t> find(std::string_view token) const {
    const std::uint64_t hash = hash_bytes(token);
    for (std::size_t i = hash & mask_; slots_[i].entry != kEmpty; i = (i + 1) & mask_) {
      if (slots_[i].hash == static_cast<std::uint32_t>(hash >> 32) &&
          entries_[slots_[i].entry].token == token) {
        return entries_[slots_[i].entry].id;
      }
    }
    return std::nullopt;
  }

  // A token that is not in it yet, and no more than there is room for.
  void insert(std::string token, std::uint32_t id) {
    const std::uint64_t hash = hash_bytes(token);
    std::size_t i = hash & mask_;
    while (slots_[i].entry != kEmpty) i = (i + 1) & mask_;
    slots_[i] = {static_cast<std::uint32_t>(hash >> 32),
                 static_cast<std::uint32_t>(entries_.size())};
    entries_.push_back({std::move(token), id});
  }

  const std::vector<Entry>& entries() const { return entries_; }

 private:
  static constexpr std::uint32_t kEmpty = UINT32_MAX;

  struct Slot {
    std::uint32_t hash = 0;  // its upper half
    std::uint32_t entry = kEmpty;
  };

  std::vector<Slot> slots_;
  std::size_t mask_;
  std::vector<Entry> entries_;
};

// Pairs of ids to a merge.
class MergeMap {
 public:
  struct Merge {
    std::uint32_t rank = UINT32_MAX;  // UINT32_MAX: none
    std::uint32_t id = 0;
  };

  // Room for this many merges.
  explicit MergeMap(std::size_t count = 0)
      : slots_(std::bit_ceil(count + count / 2 + 2)), mask_(slots_.size() - 1) {}

  Merge find(std::uint32_t left, std::uint32_t right) const {
    const std::uint64_t key = make_key(left, right);
    for (std::size_t i = mix(key) & mask_;; i = (i + 1) & mask_) {
      if (slots_[i].key == key) return slots_[i].merge;
      if (slots_[i].key == kEmpty) return {};
    }
  }

  void set(std::uint32_t left, std::uint32_t right, Merge merge) {
    const std::uint64_t key = make_key(left, right);
    std::size_t i = mix(key) & mask_;
    while (slots_[i].key != key && slots_[i].key != kEmpty) i = (i + 1) & mask_;
    slots_[i] = {key, merge};
  }

 private:
  static constexpr std::uint64_t kEmpty = UINT64_MAX;  // ids stay far below UINT32_MAX

  struct Slot {
    std::uint64_t key = kEmpty;
    Merge merge;
  };

  static std::uint64_t make_key(std::uint32_t left, std::uint32_t right) {
    return std::uint64_t{left} << 32 | right;
  }

  std::vector<Slot> slots_;
  std::size_t mask_;
};

// Byte strings to lists of ids. Forgets everything when it is full.
class PieceCache {
 public:
  PieceCache() : slots_(kSlots) {}

  struct Ids {
    const std::uint32_t* data;  // null: not known
    std::size_t size;
  };

  Ids find(std::string_view piece, std::uint64_t hash) const {
    for (std::size_t i = hash & (kSlots - 1); slots_[i].used; i = (i + 1) & (kSlots - 1)) {
      const Slot& slot = slots_[i];
      if (slot.hash == hash && slot.key_size == piece.size() &&
          std::memcmp(keys_.data() + slot.key, piece.data(), piece.size()) == 0) {
        return {ids_.data() + slot.ids, slot.ids_size};
      }
    }
    return {nullptr, 0};
  }

  void insert(std::string_view piece, std::uint64_t hash, const std::uint32_t* ids,
              std::size_t size) {
    if (piece.size() > kLongestPiece) return;
    if (used_ >= kSlots / 2) clear();
    std::size_t i = hash & (kSlots - 1);
    while (slots_[i].used) i = (i + 1) & (kSlots - 1);
    slots_[i] = {hash,
                 static_cast<std::uint32_t>(keys_.size()),
                 static_cast<std::uint32_t>(ids_.size()),
                 static_cast<std::uint16_t>(piece.size()),
                 static_cast<std::uint16_t>(size),
                 true};
    keys_.append(piece);
    ids_.insert(ids_.end(), ids, ids + size);
    ++used_;
  }

 private:
  static constexpr std::size_t kSlots = std::size_t{1} << 16;
  static constexpr std::size_t kLongestPiece = 128;

  struct Slot {
    std::uint64_t hash = 0;
    std::uint32_t key = 0;  // offset in keys_
    std::uint32_t ids = 0;  // offset in ids_
    std::uint16_t key_size = 0;
    std::uint16_t ids_size = 0;
    bool used = false;
  };

  void clear() {
    slots_.assign(kSlots, Slot{});
    keys_.clear();
    ids_.clear();
    used_ = 0;
  }

  std::vector<Slot> slots_;
  std::string keys_;
  std::vector<std::uint32_t> ids_;
  std::size_t used_ = 0;
};

}  // namespace seer::tok
