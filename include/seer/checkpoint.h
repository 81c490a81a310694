// The weights of a model folder: model.safetensors, or shards with model.safetensors.index.json.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/TensorOptions.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace seer {

struct TensorInfo {
  std::string dtype;  // as safetensors names it: "F32", "BF16", ...
  std::vector<std::int64_t> shape;
  std::uint64_t bytes = 0;
};

// Files are memory-mapped; opening reads the headers alone. A file must not be cut short while it is open. Every header is checked before anything is allocated: a
// hostile file ends in std::runtime_error naming the file, the tensor and the field.
class Checkpoint {
 public:
  static Checkpoint open(const std::filesystem::path& folder);
  // One safetensors file.
  static Checkpoint open_file(const std::filesystem::path& file);

  Checkpoint(Checkpoint&&) noexcept;
  Checkpoint& operator=(Checkpoint&&) noexcept;
  ~Checkpoint();

  std::vector<std::string> names() const;  // sorted
  bool contains(std::string_view name) const;
  const TensorInfo& info(std::string_view name) const;  // throws when missing

  // A view of the mapped file (no copy; it keeps the mapping alive and must not be written to). F32, F16 and BF16; other
  // types are an error. The format does not align its data: where they are unaligned for their type, this is a copy.
  at::Tensor view(std::string_view name) const;
  // A tensor of its own of dtype float32, bfloat16 or float16, on the CPU or a GPU; it must have `shape`. The pages of
  // the file that it was read from are released piece by piece, so that loading does not hold the weights twice, and
  // those of a GPU never whole in the memory of the CPU. Views stay valid: what is read through them later comes from
  // the file again.
  at::Tensor load(std::string_view name, at::IntArrayRef shape,
                  const at::TensorOptions& options) const;
  // The same into a contiguous tensor, such as some rows of a larger one.
  void load_into(std::string_view name, const at::Tensor& out) const;

 private:
  struct Impl;
  explicit Checkpoint(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace seer
