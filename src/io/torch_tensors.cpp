#include "io/torch_tensors.h"

#include <ATen/ops/empty.h>
#include <caffe2/serialize/inline_container.h>

#include <cstring>
#include <exception>
#include <span>
#include <string_view>

#include "io/mapped_file.h"
#include "io/pickle_opcodes.h"
#include "io/torch_file.h"

namespace seer {
namespace {

at::ScalarType scalar_type(std::string_view dtype) {
  return dtype == "F32" ? at::kFloat : dtype == "BF16" ? at::kBFloat16 : at::kHalf;
}

const char* storage_type(at::ScalarType type) {
  return type == at::kFloat      ? "FloatStorage"
         : type == at::kBFloat16 ? "BFloat16Storage"
                                 : "HalfStorage";
}

class PickleWriter {
 public:
  PickleWriter() {
    put(Opcode::kProto);
    text_ += '\x02';
    put(Opcode::kEmptyDict);
    put(Opcode::kMark);
  }

  void add(const std::string& name, const at::Tensor& tensor, std::size_t storage) {
    string(name);
    global("torch._utils", "_rebuild_tensor_v2");
    put(Opcode::kMark);
    put(Opcode::kMark);
    string("storage");
    global("torch", storage_type(tensor.scalar_type()));
    string(std::to_string(storage));
    string("cpu");
    integer(tensor.numel());
    put(Opcode::kTuple);
    put(Opcode::kBinPersId);
    integer(0);
    tuple(tensor.sizes());
    tuple(tensor.strides());
    put(Opcode::kNewFalse);
    global("collections", "OrderedDict");
    put(Opcode::kEmptyTuple);
    put(Opcode::kReduce);
    put(Opcode::kTuple);
    put(Opcode::kReduce);
  }

  std::string finish() {
    put(Opcode::kSetItems);
    put(Opcode::kStop);
    return std::move(text_);
  }

 private:
  void put(Opcode opcode) { text_ += static_cast<char>(opcode); }

  template <typename T>
  void number(T value) {
    char bytes[sizeof value];
    std::memcpy(bytes, &value, sizeof value);
    text_.append(bytes, sizeof bytes);
  }

  void string(std::string_view text) {
    put(Opcode::kBinUnicode);
    number(static_cast<std::uint32_t>(text.size()));
    text_ += text;
  }

  void integer(std::int64_t value) {
    put(Opcode::kLong1);
    text_ += static_cast<char>(sizeof value);
    number(value);
  }

  void tuple(at::IntArrayRef values) {
    put(Opcode::kMark);
    for (const std::int64_t value : values) integer(value);
    put(Opcode::kTuple);
  }

  void global(std::string_view module, std::string_view name) {
    put(Opcode::kGlobal);
    text_ += module;
    text_ += '\n';
    text_ += name;
    text_ += '\n';
  }

  std::string text_;
};

}  // namespace

std::vector<NamedTensor> read_torch_tensors(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  const TorchFile content = read_torch_file(file->bytes(), file->name());
  std::vector<NamedTensor> tensors;
  for (const PickledTensor& tensor : content.tensors) {
    const at::ScalarType type = scalar_type(tensor.dtype);
    const ZipEntry& entry = content.storages.find(tensor.storage)->second;
    // The archive's own alignment is not relied upon: the storage is copied, then read by the tensor's strides.
    const auto bytes = static_cast<std::int64_t>(entry.end - entry.begin);
    const at::Tensor storage =
        at::empty({bytes / static_cast<std::int64_t>(at::elementSize(type))}, type);
    if (bytes > 0) {
      std::memcpy(storage.mutable_data_ptr(), file->bytes().data() + entry.begin,
                  static_cast<std::size_t>(bytes));
    }
    const at::Tensor strided =
        storage.as_strided(tensor.shape, tensor.strides, static_cast<std::int64_t>(tensor.offset));
    const bool whole = strided.is_contiguous() && strided.numel() == storage.numel();
    tensors.emplace_back(tensor.name,
                         whole ? strided : strided.clone(at::MemoryFormat::Contiguous));
  }
  return tensors;
}

void write_torch_tensors(OutputFile& file, const std::vector<NamedTensor>& tensors) {
  PickleWriter pickle;
  for (std::size_t i = 0; i < tensors.size(); ++i)
    pickle.add(tensors[i].first, tensors[i].second, i);
  const std::string text = pickle.finish();
  // The archive's code is written in C: our exceptions wait until it has returned.
  std::exception_ptr error;
  try {
    caffe2::serialize::PyTorchStreamWriter archive(
        [&](const void* data, std::size_t size) -> std::size_t {
          if (error) return 0;
          try {
            file.write(std::span(static_cast<const std::byte*>(data), size));
          } catch (...) {
            error = std::current_exception();
            return 0;
          }
          return size;
        });
    archive.writeRecord("data.pkl", text.data(), text.size());
    archive.writeRecord("byteorder", "little", 6);
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      const at::Tensor& tensor = tensors[i].second;
      archive.writeRecord("data/" + std::to_string(i), tensor.const_data_ptr(), tensor.nbytes());
    }
    archive.writeEndOfFile();
  } catch (...) {
    if (!error) throw;
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace seer
