#include "io/safetensors_writer.h"

#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>

#include "base/quote.h"
#include "io/safetensors.h"

namespace seer {

void write_safetensors(OutputFile& file, const std::vector<SafetensorsInput>& tensors) {
  static_assert(std::endian::native == std::endian::little, "the format is little-endian");
  nlohmann::ordered_json header = {{"__metadata__", {{"format", "pt"}}}};
  std::set<std::string> names;
  std::uint64_t end = 0;
  for (const SafetensorsInput& tensor : tensors) {
    std::uint64_t bits = static_cast<std::uint64_t>(safetensors_dtype_bits(tensor.dtype));
    for (const std::int64_t size : tensor.shape) bits *= static_cast<std::uint64_t>(size);
    if (safetensors_dtype_bits(tensor.dtype) == 0 || bits != tensor.bytes.size() * 8) {
      throw std::invalid_argument("tensor " + quote(tensor.name) + ": " +
                                  std::to_string(tensor.bytes.size()) +
                                  " bytes do not fit its shape in " + quote(tensor.dtype));
    }
    if (!names.insert(tensor.name).second || tensor.name == "__metadata__")
      throw std::invalid_argument("tensor " + quote(tensor.name) + ": the name is taken");
    const std::uint64_t begin = end;
    end += tensor.bytes.size();
    header[tensor.name] = {
        {"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {begin, end}}};
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  const std::uint64_t length = text.size();
  std::string prefix(sizeof length, '\0');
  std::memcpy(prefix.data(), &length, sizeof length);
  file.write(prefix);
  file.write(text);
  for (const SafetensorsInput& tensor : tensors) file.write(tensor.bytes);
}

}  // namespace seer
