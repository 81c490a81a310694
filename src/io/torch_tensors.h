// Dictionaries of tensors in torch.save's format.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "io/whole_folder.h"

namespace seer {

using NamedTensor = std::pair<std::string, at::Tensor>;

// Contiguous tensors of their own in the types that the file has, float32, bfloat16 or float16; by name. Throws
// std::runtime_error as read_torch_file does.
std::vector<NamedTensor> read_torch_tensors(const std::filesystem::path& path);

// Writes contiguous float32, bfloat16 and float16 tensors of the CPU so that torch.load(weights_only=True) returns a
// dictionary of them. Names are UTF-8, none twice. Throws std::runtime_error as OutputFile does.
void write_torch_tensors(OutputFile& file, const std::vector<NamedTensor>& tensors);

}  // namespace seer
