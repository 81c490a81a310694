#include <fmt/format.h>

#include <cstddef>

#include "seer/eval.h"

namespace seer {

std::string gates_label(const GateSet& gates, const std::filesystem::path& folder) {
  std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a over the weights' bytes
  for (const GateParameter& parameter : gates.parameters()) {
    const at::Tensor value = parameter.value.cpu();
    const auto* const bytes = static_cast<const unsigned char*>(value.const_data_ptr());
    const std::size_t size = value.nbytes();
    for (std::size_t i = 0; i < size; ++i) hash = (hash ^ bytes[i]) * 0x100000001b3;
  }
  // A path that ends in '/' has no last name.
  const std::filesystem::path name =
      folder.has_filename() ? folder.filename() : folder.parent_path().filename();
  return fmt::format("{}@{:08x}", name.string(), hash >> 32);
}

}  // namespace seer
