#include "seer/checkpoint.h"

#include <ATen/Functions.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "base/json.h"
#include "base/quote.h"
#include "io/checkpoint_index.h"
#include "io/mapped_file.h"
#include "io/safetensors.h"

namespace seer {
namespace {

constexpr const char* kSingleFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";
// Weights are converted in pieces of this many bytes of the file; no more of it stays resident at once.
constexpr std::uint64_t kPieceBytes = 8 << 20;

std::optional<at::ScalarType> scalar_type(std::string_view dtype) {
  if (dtype == "F32") return at::kFloat;
  if (dtype == "F16") return at::kHalf;
  if (dtype == "BF16") return at::kBFloat16;
  return std::nullopt;
}

std::string shape_text(at::IntArrayRef shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (i == 12) return text + ", ...]";
    text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  }
  return text + "]";
}

// The names in `missing`, the first few of them.
std::string some_of(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < names.size() && i < 5; ++i)
    text += (i > 0 ? ", " : "") + quote(names[i]);
  if (names.size() > 5) text += " and " + std::to_string(names.size() - 5) + " more";
  return text;
}

bool file_exists(const std::filesystem::path& file) {
  std::error_code error;
  return std::filesystem::exists(file, error);
}

}  // namespace

struct Checkpoint::Impl {
  struct Located {
    TensorInfo info;
    std::size_t file = 0;
    std::uint64_t begin = 0;
  };

  std::string source;  // the folder or file, for messages
  std::vector<std::shared_ptr<const MappedFile>> files;
  std::map<std::string, Located, std::less<>> tensors;

  const Located& find(std::string_view name) const {
    const auto found = tensors.find(name);
    if (found == tensors.end()) throw std::runtime_error(source + ": has no tensor " + quote(name));
    return found->second;
  }

  std::string where(std::string_view name, const Located& tensor) const {
    return files[tensor.file]->name() + ": tensor " + quote(name) + ": ";
  }

  at::ScalarType stored_type(std::string_view name, const Located& tensor) const {
    const auto type = scalar_type(tensor.info.dtype);
    if (!type) {
      throw std::runtime_error(where(name, tensor) + "dtype " + tensor.info.dtype +
                               " is not supported for weights (supported: F32, F16, BF16)");
    }
    return *type;
  }

  const std::byte* data(const Located& tensor) const {
    return files[tensor.file]->bytes().data() + tensor.begin;
  }

  // Adds the tensors of one file. With an index, they must be those that it says.
  void add_file(const std::filesystem::path& path, const WeightMap* index,
                const std::string& index_name) {
    auto file = MappedFile::open(path);
    SafetensorsHeader header = parse_safetensors_header(file->bytes(), file->name());
    for (auto& [name, entry] : header.tensors) {
      if (tensors.contains(name)) {
        throw std::runtime_error(file->name() + ": tensor " + quote(name) + " is also in " +
                                 files[find(name).file]->name());
      }
      if (index != nullptr) {
        const auto listed = index->find(name);
        if (listed == index->end()) {
          throw std::runtime_error(file->name() + ": tensor " + quote(name) + " is not listed in " +
                                   index_name);
        }
        if (listed->second != path.filename().string()) {
          throw std::runtime_error(file->name() + ": tensor " + quote(name) + " should be in " +
                                   quote(listed->second) + " according to " + index_name);
        }
      }
      Located located;
      located.info = {std::move(entry.dtype), std::move(entry.shape), entry.end - entry.begin};
      located.file = files.size();
      located.begin = entry.begin;
      tensors.emplace(name, std::move(located));
    }
    files.push_back(std::move(file));
  }

  void add_index(const std::filesystem::path& folder) {
    const std::filesystem::path index_file = folder / kIndexFile;
    const WeightMap index = parse_checkpoint_index(read_json_file(index_file), index_file.string());
    std::map<std::string, std::size_t> shards;  // and how many tensors each holds
    for (const auto& [name, shard] : index) ++shards[shard];
    std::vector<std::string> missing;
    for (const auto& [shard, count] : shards) {
      if (!file_exists(folder / shard)) missing.push_back(shard);
    }
    if (!missing.empty()) {
      throw std::runtime_error(folder.string() + ": " + std::to_string(missing.size()) + " of " +
                               std::to_string(shards.size()) + " weight files named in " +
                               kIndexFile + " missing: " + some_of(missing) +
                               ". Download the model again, or copy the rest of it");
    }
    for (const auto& [shard, count] : shards) add_file(folder / shard, &index, index_file.string());
    for (const auto& [name, shard] : index) {
      if (!tensors.contains(name)) {
        throw std::runtime_error(index_file.string() + ": tensor " + quote(name) + " is not in " +
                                 quote(shard) + ", where the index has it");
      }
    }
  }
};

Checkpoint::Checkpoint(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Checkpoint::Checkpoint(Checkpoint&&) noexcept = default;
Checkpoint& Checkpoint::operator=(Checkpoint&&) noexcept = default;
Checkpoint::~Checkpoint() = default;

Checkpoint Checkpoint::open(const std::filesystem::path& folder) {
  std::error_code error;
  const auto status = std::filesystem::status(folder, error);
  if (!std::filesystem::exists(status))
    throw std::runtime_error(folder.string() + ": no such folder");
  if (!std::filesystem::is_directory(status)) {
    throw std::runtime_error(folder.string() + ": not a folder: expected the folder of a model");
  }
  auto impl = std::make_unique<Impl>();
  impl->source = folder.string();
  if (file_exists(folder / kSingleFile)) {
    impl->add_file(folder / kSingleFile, nullptr, "");
  } else if (file_exists(folder / kIndexFile)) {
    impl->add_index(folder);
  } else {
    const bool pickled = file_exists(folder / "pytorch_model.bin") ||
                         file_exists(folder / "pytorch_model.bin.index.json");
    throw std::runtime_error(
        folder.string() + ": no weights: expected " + kSingleFile + " or " + kIndexFile +
        (pickled ? "; pytorch_model.bin is a pickle, which is not read: it could run code. "
                   "Convert the model to safetensors"
                 : ""));
  }
  return Checkpoint(std::move(impl));
}

Checkpoint Checkpoint::open_file(const std::filesystem::path& file) {
  auto impl = std::make_unique<Impl>();
  impl->source = file.string();
  impl->add_file(file, nullptr, "");
  return Checkpoint(std::move(impl));
}

std::vector<std::string> Checkpoint::names() const {
  std::vector<std::string> names;
  names.reserve(impl_->tensors.size());
  for (const auto& [name, tensor] : impl_->tensors) names.push_back(name);
  return names;
}

bool Checkpoint::contains(std::string_view name) const {
  return impl_->tensors.contains(name);
}

const TensorInfo& Checkpoint::info(std::string_view name) const {
  return impl_->find(name).info;
}

at::Tensor Checkpoint::view(std::string_view name) const {
  const Impl::Located& tensor = impl_->find(name);
  const at::ScalarType type = impl_->stored_type(name, tensor);
  if (tensor.info.bytes == 0) return at::empty(tensor.info.shape, type);
  const std::byte* data = impl_->data(tensor);
  if (reinterpret_cast<std::uintptr_t>(data) % at::elementSize(type) != 0) {
    at::Tensor copy = at::empty(tensor.info.shape, type);
    std::memcpy(copy.mutable_data_ptr(), data, tensor.info.bytes);
    return copy;
  }
  // The deleter holds the mapping.
  return at::from_blob(
      const_cast<std::byte*>(data), tensor.info.shape, [file = impl_->files[tensor.file]](void*) {},
      at::TensorOptions().dtype(type));
}

at::Tensor Checkpoint::load(std::string_view name, at::IntArrayRef shape,
                            const at::TensorOptions& options) const {
  const at::ScalarType dtype = options.dtype().toScalarType();
  TORCH_CHECK(dtype == at::kFloat || dtype == at::kBFloat16 || dtype == at::kHalf,
              "dtype: expected float32, bfloat16 or float16, got ", dtype);
  const Impl::Located& tensor = impl_->find(name);
  if (shape != at::IntArrayRef(tensor.info.shape)) {  // before anything of that size is allocated
    throw std::runtime_error(impl_->where(name, tensor) + "shape: expected " + shape_text(shape) +
                             ", got " + shape_text(tensor.info.shape));
  }
  impl_->stored_type(name, tensor);
  at::Tensor out = at::empty(shape, options);
  load_into(name, out);
  return out;
}

void Checkpoint::load_into(std::string_view name, const at::Tensor& out) const {
  const Impl::Located& tensor = impl_->find(name);
  const at::ScalarType type = impl_->stored_type(name, tensor);
  if (out.sizes() != at::IntArrayRef(tensor.info.shape)) {
    throw std::runtime_error(impl_->where(name, tensor) + "shape: expected " +
                             shape_text(out.sizes()) + ", got " + shape_text(tensor.info.shape));
  }
  TORCH_CHECK(out.is_contiguous(), "out: expected a contiguous tensor");
  const MappedFile& file = *impl_->files[tensor.file];
  const std::uint64_t item = at::elementSize(type);
  const std::uint64_t piece = kPieceBytes / item;  // elements
  const auto count = static_cast<std::uint64_t>(out.numel());
  const at::Tensor flat = out.view(-1);
  at::Tensor aligned;  // where the file's data lie unaligned
  for (std::uint64_t done = 0; done < count;) {
    const std::uint64_t now = std::min(piece, count - done);
    const std::uint64_t offset = tensor.begin + done * item;
    const std::byte* data = file.bytes().data() + offset;
    file.will_need(offset, now * item);
    const at::Tensor target =
        flat.narrow(0, static_cast<std::int64_t>(done), static_cast<std::int64_t>(now));
    if (type == out.scalar_type() && out.is_cpu()) {
      std::memcpy(target.mutable_data_ptr(), data, now * item);
    } else {
      if (reinterpret_cast<std::uintptr_t>(data) % item != 0) {
        if (!aligned.defined()) aligned = at::empty({static_cast<std::int64_t>(now)}, type);
        std::memcpy(aligned.mutable_data_ptr(), data, now * item);
        data = static_cast<const std::byte*>(aligned.const_data_ptr());
      }
      target.copy_(
          at::from_blob(const_cast<std::byte*>(data), {static_cast<std::int64_t>(now)}, type));
    }
    file.release(offset, now * item);
    done += now;
  }
}

}  // namespace seer
