#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "io/whole_folder.h"

namespace seer {

// A tensor's bytes in row-major order, as the file stores them.
struct SafetensorsInput {
  std::string name;
  std::string dtype;  // as the format names it: "F32", "BF16", ...
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;
};

// Writes a safetensors file: tensors in the given order, data aligned to 8 bytes. Throws std::invalid_argument for
// bytes that do not fit dtype and shape and for a name that comes twice, std::runtime_error as OutputFile does.
void write_safetensors(OutputFile& file, const std::vector<SafetensorsInput>& tensors);

}  // namespace seer
