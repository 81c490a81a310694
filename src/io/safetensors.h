// The header of a safetensors file. No LibTorch here: this is what the fuzz target runs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace seer {

struct SafetensorsEntry {
  std::string dtype;  // one of the format's names: "F32", "BF16", ...
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;  // bytes from the start of the file; not aligned to anything
  std::uint64_t end = 0;
};

struct SafetensorsHeader {
  std::map<std::string, SafetensorsEntry, std::less<>> tensors;
  std::map<std::string, std::string, std::less<>> metadata;
};

// Bits of one element; 0 for a name that the format does not know.
int safetensors_dtype_bits(std::string_view dtype);

// Reads the header of `file` (all of its bytes) and holds it to the format: a length that fits the file and is at most
// 100 MB, strict JSON that begins with '{', no key twice, known types, shapes and offsets that agree, and data that
// covers the rest of the file without holes or overlaps. Unknown fields of a tensor are refused. Nothing is allocated
// that is not in proportion to the header's length. Throws std::runtime_error "<source>: ..." naming tensor and field.
SafetensorsHeader parse_safetensors_header(std::span<const std::byte> file,
                                           const std::string& source);

}  // namespace seer
