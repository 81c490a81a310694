// A whole file of torch.save: the zip's directory, the pickle, the storages.
#include <cstdlib>
#include <span>

#include "fuzz/fuzz_target.h"
#include "io/torch_file.h"

void seer::fuzz::parse_input(std::string_view input) {
  const TorchFile file = read_torch_file(std::as_bytes(std::span(input)), "input.pth");
  for (const auto& [key, entry] : file.storages) {
    if (entry.begin > entry.end || entry.end > input.size()) std::abort();
  }
  for (const PickledTensor& tensor : file.tensors) {
    if (!file.storages.contains(tensor.storage)) std::abort();
  }
}
