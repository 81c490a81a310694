// The table of contents of a zip file whose entries are stored as they are, as torch.save writes them. No LibTorch here:
// this is what the fuzz target runs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>

namespace seer {

struct ZipEntry {
  std::uint64_t begin = 0;  // of its bytes, from the start of the file
  std::uint64_t end = 0;
  std::uint32_t crc32 = 0;  // as the file states it
};

using ZipEntries = std::map<std::string, ZipEntry, std::less<>>;

// Reads the central directory of `file` (all of its bytes), also in its 64-bit form, and holds every entry to the bytes
// that are there: stored without compression or encryption, inside of the file, not overlapping another one, each name
// once, the local header agreeing. Throws std::runtime_error "<source>: ..." naming the entry.
ZipEntries read_zip_entries(std::span<const std::byte> file, const std::string& source);

// Throws std::runtime_error when the entry's bytes have another checksum than the file states.
void check_zip_entry(std::span<const std::byte> file, const std::string& name,
                     const ZipEntry& entry, const std::string& source);

}  // namespace seer
