// The pickle inside of a torch.save file, as far as it takes to describe a dictionary of tensors. A pickle is a program
// that its reader runs; this reader knows the few instructions that build such a dictionary and refuses every other
// one by name. No LibTorch here: this is what the fuzz target runs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace seer {

struct PickledTensor {
  std::string name;
  std::string dtype;                  // as safetensors names it: "F32", "BF16" or "F16"
  std::string storage;                // the record's key: data/<storage>
  std::uint64_t offset = 0;           // elements
  std::vector<std::int64_t> shape;    // at most 8 dimensions
  std::vector<std::int64_t> strides;  // elements, none negative
};

// Bytes of the record data/<key>; none where there is no such record.
using StorageBytes = std::function<std::optional<std::uint64_t>(std::string_view key)>;

// Reads the pickle (protocol 2) of a dictionary from names to tensors. Every tensor lies inside of its storage, whose
// size is what its record has, and has no more elements than it. Nothing is allocated that is not in proportion to the
// pickle's length. Throws std::runtime_error "<source>: byte N: ..." naming the instruction or global.
std::vector<PickledTensor> read_tensor_pickle(std::span<const std::byte> pickle,
                                              const StorageBytes& storage_bytes,
                                              const std::string& source);

}  // namespace seer
