#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace seer {

// FNV-1a, 64 bits: tells texts apart, and is no protection against anyone.
inline std::uint64_t fnv1a(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

// Of token ids, each taken whole.
inline std::uint64_t fnv1a(std::span<const std::int32_t> ids) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const std::int32_t id : ids) hash = (hash ^ static_cast<std::uint32_t>(id)) * 0x100000001b3;
  return hash;
}

}  // namespace seer
