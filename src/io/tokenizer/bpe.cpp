#include "io/tokenizer/bpe.h"

#include <algorithm>
#include <cstdio>
#include <queue>
#include <utility>

#include "io/tokenizer/byte_level.h"

namespace seer::tok {
namespace {

constexpr std::size_t kLongestForScan =
    48;  // above this many symbols a heap is faster than looking at all of them

}  // namespace

Bpe::Bpe(Vocabulary vocabulary, MergeMap merges, const BpeOptions& options)
    : vocabulary_(std::move(vocabulary)), merges_(std::move(merges)), options_(options) {
  for (int byte = 0; byte < 256; ++byte) {
    const std::string& character = byte_character(static_cast<unsigned char>(byte));
    byte_ids_[byte] = vocabulary_.find(character);
    if (byte_ids_[byte] || !options_.byte_fallback) continue;
    // The `tokenizers` package falls back from the character's own UTF-8, not from the byte it stands for.
    for (const char part : character) {
      char name[8];
      std::snprintf(name, sizeof name, "<0x%02X>",
                    static_cast<unsigned>(static_cast<unsigned char>(part)));
      const auto id = vocabulary_.find(name);
      if (!id) {
        fallback_ids_[byte].clear();
        break;
      }
      fallback_ids_[byte].push_back(*id);
    }
  }
}

void Bpe::encode(std::string_view piece, BpeScratch& scratch,
                 std::vector<std::int64_t>& out) const {
  const std::uint64_t hash = hash_bytes(piece);
  const PieceCache::Ids known = scratch.cache.find(piece, hash);
  if (known.data != nullptr) {
    out.insert(out.end(), known.data, known.data + known.size);
    return;
  }
  scratch.ids.clear();
  merge_piece(piece, scratch.ids);
  scratch.cache.insert(piece, hash, scratch.ids.data(), scratch.ids.size());
  out.insert(out.end(), scratch.ids.begin(), scratch.ids.end());
}

void Bpe::merge_piece(std::string_view piece, std::vector<std::uint32_t>& ids) const {
  if (options_.ignore_merges) {
    std::string token;
    for (const char byte : piece) token += byte_character(static_cast<unsigned char>(byte));
    if (const auto id = vocabulary_.find(token)) {
      ids.push_back(*id);
      return;
    }
  }
  first_ids(piece, ids);
  if (ids.size() <= kLongestForScan) {
    merge_short(ids);
  } else {
    merge_long(ids);
  }
}

// One id a byte. A byte without a token becomes its fallback, the unknown token, or nothing, as in the `tokenizers`
// package (where an unknown token waits until the next known byte, and a fallback does not end its wait).
void Bpe::first_ids(std::string_view piece, std::vector<std::uint32_t>& ids) const {
  bool unknown = false;
  for (const char character : piece) {
    const auto byte = static_cast<unsigned char>(character);
    if (byte_ids_[byte]) {
      if (unknown) ids.push_back(*options_.unk_id);
      unknown = false;
      ids.push_back(*byte_ids_[byte]);
    } else if (!fallback_ids_[byte].empty()) {
      ids.insert(ids.end(), fallback_ids_[byte].begin(), fallback_ids_[byte].end());
    } else if (options_.unk_id) {
      if (unknown && !options_.fuse_unk) ids.push_back(*options_.unk_id);
      unknown = true;
    }
  }
  if (unknown) ids.push_back(*options_.unk_id);
}

// Merges the pair of the lowest rank, the leftmost of equal ones, until there is none.
void Bpe::merge_short(std::vector<std::uint32_t>& ids) const {
  if (ids.size() < 2) return;
  MergeMap::Merge merges[kLongestForScan];  // of each id and the next
  std::size_t pairs = ids.size() - 1;
  for (std::size_t i = 0; i < pairs; ++i) merges[i] = merges_.find(ids[i], ids[i + 1]);
  while (pairs > 0) {
    std::size_t best = 0;
    for (std::size_t i = 1; i < pairs; ++i) {
      if (merges[i].rank < merges[best].rank) best = i;
    }
    if (merges[best].rank == UINT32_MAX) return;
    ids[best] = merges[best].id;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    std::copy(merges + best + 1, merges + pairs, merges + best);
    --pairs;
    if (best > 0) merges[best - 1] = merges_.find(ids[best - 1], ids[best]);
    if (best < pairs) merges[best] = merges_.find(ids[best], ids[best + 1]);
  }
}

// The same in O(n log n): a heap of (rank, position) over a linked list; entries that are out of date are skipped.
void Bpe::merge_long(std::vector<std::uint32_t>& ids) const {
  constexpr std::uint32_t kNone = UINT32_MAX;
  const auto size = static_cast<std::uint32_t>(ids.size());
  std::vector<std::uint32_t> previous(size);
  std::vector<std::uint32_t> next(size);
  std::vector<MergeMap::Merge> merges(size);
  std::vector<std::uint64_t> entries;
  const auto entry = [&](std::uint32_t at) { return std::uint64_t{merges[at].rank} << 32 | at; };
  for (std::uint32_t i = 0; i < size; ++i) {
    previous[i] = i == 0 ? kNone : i - 1;
    next[i] = i + 1 == size ? kNone : i + 1;
    if (i + 1 < size) merges[i] = merges_.find(ids[i], ids[i + 1]);
    if (merges[i].rank != kNone) entries.push_back(entry(i));
  }
  std::priority_queue<std::uint64_t, std::vector<std::uint64_t>, std::greater<>> queue(
      std::greater<>(), std::move(entries));
  while (!queue.empty()) {
    const std::uint64_t top = queue.top();
    queue.pop();
    const auto at = static_cast<std::uint32_t>(top);
    if (merges[at].rank != top >> 32) continue;
    const std::uint32_t gone = next[at];
    ids[at] = merges[at].id;
    ids[gone] = kNone;
    merges[gone] = {};
    next[at] = next[gone];
    if (next[at] != kNone) previous[next[at]] = at;
    merges[at] = next[at] == kNone ? MergeMap::Merge{} : merges_.find(ids[at], ids[next[at]]);
    if (merges[at].rank != kNone) queue.push(entry(at));
    if (const std::uint32_t before = previous[at]; before != kNone) {
      merges[before] = merges_.find(ids[before], ids[at]);
      if (merges[before].rank != kNone) queue.push(entry(before));
    }
  }
  std::erase(ids, kNone);
}

}  // namespace seer::tok
