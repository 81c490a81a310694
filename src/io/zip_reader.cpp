// Layout: APPNOTE.TXT, sections 4.3.7 (local header), 4.3.12 (central directory), 4.3.14 to 4.3.16 (its end).
#include "io/zip_reader.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <stdexcept>
#include <utility>
#include <vector>

#include "base/quote.h"

namespace seer {
namespace {

constexpr std::uint32_t kLocalHeader = 0x04034b50;
constexpr std::uint32_t kCentralHeader = 0x02014b50;
constexpr std::uint32_t kEnd = 0x06054b50;
constexpr std::uint32_t kEnd64 = 0x06064b50;
constexpr std::uint32_t kEnd64Locator = 0x07064b50;
constexpr std::uint64_t kLocalHeaderBytes = 30;
constexpr std::uint64_t kCentralHeaderBytes = 46;
constexpr std::uint64_t kEndBytes = 22;
constexpr std::uint64_t kEnd64Bytes = 56;
constexpr std::uint64_t kEnd64LocatorBytes = 20;
constexpr std::uint64_t kMaxComment = 65535;
constexpr std::uint16_t kZip64Extra = 1;
constexpr std::uint32_t kIn64Bits = 0xffffffff;
constexpr std::uint16_t kEncrypted = 1;

class Reader {
 public:
  Reader(std::span<const std::byte> file, const std::string& source)
      : file_(file), source_(source) {}

  ZipEntries read() {
    find_directory();
    ZipEntries entries;
    std::uint64_t at = directory_;
    for (std::uint64_t i = 0; i < count_; ++i) at = read_entry(at, entries);
    if (at != directory_end_) fail("its directory has other entries than it says");
    check_overlaps(entries);
    return entries;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw std::runtime_error(source_ + ": zip: " + what);
  }

  template <typename T>
  T number(std::uint64_t at) const {
    if (at > file_.size() || file_.size() - at < sizeof(T))
      fail("ends inside of a header (is it truncated? Download it again)");
    T value;
    std::memcpy(&value, file_.data() + at, sizeof value);
    return value;
  }

  std::string text(std::uint64_t at, std::uint64_t length) const {
    if (at > file_.size() || file_.size() - at < length) fail("ends inside of a name");
    return {reinterpret_cast<const char*>(file_.data()) + at, static_cast<std::size_t>(length)};
  }

  void find_directory() {
    if (file_.size() < kEndBytes) {
      fail("no zip file: " + std::to_string(file_.size()) + " bytes, at least 22 expected");
    }
    // A comment may follow the end record; the record says how long it is.
    std::uint64_t at = file_.size() - kEndBytes;
    const std::uint64_t first = at - std::min(at, kMaxComment);
    while (number<std::uint32_t>(at) != kEnd ||
           number<std::uint16_t>(at + 20) != file_.size() - at - kEndBytes) {
      if (at == first) {
        fail(
            "no zip file, or a truncated one: its end record is missing (download it again; a "
            "file of torch.save's older format must be saved again by a current PyTorch)");
      }
      --at;
    }
    count_ = number<std::uint16_t>(at + 10);
    std::uint64_t size = number<std::uint32_t>(at + 12);
    directory_ = number<std::uint32_t>(at + 16);
    directory_end_ = at;
    if (at >= kEnd64LocatorBytes &&
        number<std::uint32_t>(at - kEnd64LocatorBytes) == kEnd64Locator) {
      const auto end64 = number<std::uint64_t>(at - kEnd64LocatorBytes + 8);
      if (end64 > at - kEnd64LocatorBytes || at - kEnd64LocatorBytes - end64 < kEnd64Bytes ||
          number<std::uint32_t>(end64) != kEnd64) {
        fail("its 64-bit end record is not where it should be");
      }
      count_ = number<std::uint64_t>(end64 + 32);
      size = number<std::uint64_t>(end64 + 40);
      directory_ = number<std::uint64_t>(end64 + 48);
      directory_end_ = end64;
    }
    if (directory_ > directory_end_ || directory_end_ - directory_ != size)
      fail("its directory of " + std::to_string(size) + " bytes does not lie before its end");
    if (count_ > size / kCentralHeaderBytes)
      fail("states " + std::to_string(count_) + " entries, more than its directory can hold");
  }

  // Takes the values that the 32-bit fields have no room for, in the order in which they are needed.
  void read_extra(std::uint64_t at, std::uint64_t length, const std::string& name,
                  const std::vector<std::uint64_t*>& wanted) const {
    if (wanted.empty()) return;
    const std::uint64_t end = at + length;
    while (end - at >= 4) {
      const auto id = number<std::uint16_t>(at);
      const std::uint64_t size = number<std::uint16_t>(at + 2);
      at += 4;
      if (size > end - at) break;
      if (id == kZip64Extra) {
        if (size < wanted.size() * 8) break;
        for (std::size_t i = 0; i < wanted.size(); ++i) {
          *wanted[i] = number<std::uint64_t>(at + i * 8);
        }
        return;
      }
      at += size;
    }
    fail("entry " + quote(name) + ": its 64-bit sizes are missing");
  }

  std::uint64_t read_entry(std::uint64_t at, ZipEntries& entries) const {
    if (at > directory_end_ || directory_end_ - at < kCentralHeaderBytes ||
        number<std::uint32_t>(at) != kCentralHeader) {
      fail("its directory is damaged at byte " + std::to_string(at));
    }
    const auto flags = number<std::uint16_t>(at + 8);
    const auto method = number<std::uint16_t>(at + 10);
    ZipEntry entry;
    entry.crc32 = number<std::uint32_t>(at + 16);
    std::uint64_t stored = number<std::uint32_t>(at + 20);
    std::uint64_t size = number<std::uint32_t>(at + 24);
    const std::uint64_t name_length = number<std::uint16_t>(at + 28);
    const std::uint64_t extra_length = number<std::uint16_t>(at + 30);
    const std::uint64_t comment_length = number<std::uint16_t>(at + 32);
    std::uint64_t header = number<std::uint32_t>(at + 42);
    const std::uint64_t rest = name_length + extra_length + comment_length;
    if (directory_end_ - at - kCentralHeaderBytes < rest)
      fail("its directory is damaged at byte " + std::to_string(at));
    const std::string name = text(at + kCentralHeaderBytes, name_length);
    std::vector<std::uint64_t*> wanted;
    for (std::uint64_t* value : {&size, &stored, &header})
      if (*value == kIn64Bits) wanted.push_back(value);
    read_extra(at + kCentralHeaderBytes + name_length, extra_length, name, wanted);

    if ((flags & kEncrypted) != 0) fail("entry " + quote(name) + ": encrypted");
    if (method != 0) {
      fail("entry " + quote(name) + ": compressed (method " + std::to_string(method) +
           "): expected entries stored as they are, as torch.save writes them");
    }
    if (stored != size) fail("entry " + quote(name) + ": two different sizes");
    entry.begin = data_begin(name, header);
    if (directory_ - entry.begin < size) {
      fail("entry " + quote(name) + ": " + std::to_string(size) + " bytes at " +
           std::to_string(entry.begin) + " lie outside of the file's data");
    }
    entry.end = entry.begin + size;
    if (!entries.emplace(name, entry).second) fail("entry " + quote(name) + " comes twice");
    return at + kCentralHeaderBytes + rest;
  }

  // Behind the local header, which must be this entry's.
  std::uint64_t data_begin(const std::string& name, std::uint64_t header) const {
    if (header > directory_ || directory_ - header < kLocalHeaderBytes ||
        number<std::uint32_t>(header) != kLocalHeader) {
      fail("entry " + quote(name) + ": has no header at byte " + std::to_string(header));
    }
    const std::uint64_t name_length = number<std::uint16_t>(header + 26);
    const std::uint64_t extra_length = number<std::uint16_t>(header + 28);
    if (directory_ - header - kLocalHeaderBytes < name_length + extra_length ||
        text(header + kLocalHeaderBytes, name_length) != name) {
      fail("entry " + quote(name) + ": its header is another one's");
    }
    return header + kLocalHeaderBytes + name_length + extra_length;
  }

  void check_overlaps(const ZipEntries& entries) const {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
    for (const auto& [name, entry] : entries)
      if (entry.end > entry.begin) ranges.emplace_back(entry.begin, entry.end);
    std::sort(ranges.begin(), ranges.end());
    for (std::size_t i = 1; i < ranges.size(); ++i) {
      if (ranges[i].first < ranges[i - 1].second) fail("two entries share the same bytes");
    }
  }

  std::span<const std::byte> file_;
  const std::string& source_;
  std::uint64_t directory_ = 0;
  std::uint64_t directory_end_ = 0;
  std::uint64_t count_ = 0;
};

constexpr std::array<std::uint32_t, 256> make_crc_table() {
  constexpr std::uint32_t kPolynomial = 0xedb88320;
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? kPolynomial : 0);
    table[i] = value;
  }
  return table;
}

constexpr std::array<std::uint32_t, 256> kCrcTable = make_crc_table();

}  // namespace

ZipEntries read_zip_entries(std::span<const std::byte> file, const std::string& source) {
  static_assert(std::endian::native == std::endian::little, "the format is little-endian");
  return Reader(file, source).read();
}

void check_zip_entry(std::span<const std::byte> file, const std::string& name,
                     const ZipEntry& entry, const std::string& source) {
  std::uint32_t crc = 0xffffffff;
  for (const std::byte value : file.subspan(entry.begin, entry.end - entry.begin))
    crc = kCrcTable[(crc ^ static_cast<std::uint32_t>(value)) & 0xff] ^ (crc >> 8);
  if ((crc ^ 0xffffffff) == entry.crc32) return;
  throw std::runtime_error(source + ": zip: entry " + quote(name) +
                           ": its bytes do not have the checksum that the file states (is it "
                           "damaged? Download it again)");
}

}  // namespace seer
