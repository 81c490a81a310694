// Files of torch.save that hold a dictionary of tensors: what is in them. No LibTorch here: this is what the fuzz
// target runs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "io/pickle_reader.h"
#include "io/zip_reader.h"

namespace seer {

struct TorchFile {
  std::vector<PickledTensor> tensors;                     // by name
  std::map<std::string, ZipEntry, std::less<>> storages;  // by key: where its bytes lie in the file
};

// Reads the directory and the pickle of `file` (all of its bytes), checksums of both and of the storages. The tensors
// together have no more bytes than the storages. Throws std::runtime_error "<source>: ..." naming record, instruction or
// tensor.
TorchFile read_torch_file(std::span<const std::byte> file, const std::string& source);

}  // namespace seer
