// The pickle inside of a torch.save file, without the zip around it, whose checksum would keep most changes out. There
// are two records: data/0 of 24 bytes and data/1 of 16.
#include <cstdlib>
#include <optional>
#include <span>

#include "fuzz/fuzz_target.h"
#include "io/pickle_reader.h"

void seer::fuzz::parse_input(std::string_view input) {
  const auto storage_bytes = [](std::string_view key) -> std::optional<std::uint64_t> {
    if (key == "0") return 24;
    if (key == "1") return 16;
    return std::nullopt;
  };
  for (const PickledTensor& tensor :
       read_tensor_pickle(std::as_bytes(std::span(input)), storage_bytes, "data.pkl")) {
    std::uint64_t last = tensor.offset;
    bool empty = false;
    for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
      empty = empty || tensor.shape[i] == 0;
      if (!empty) last += static_cast<std::uint64_t>((tensor.shape[i] - 1) * tensor.strides[i]);
    }
    if (!empty && last >= 24) std::abort();
  }
}
