#include "io/torch_file.h"

#include <optional>
#include <set>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "base/quote.h"
#include "io/safetensors.h"

namespace seer {
namespace {

constexpr std::string_view kPickle = "/data.pkl";
constexpr std::uint64_t kMaxPickleBytes = 64 << 20;

[[noreturn]] void fail(const std::string& source, const std::string& what) {
  throw std::runtime_error(source + ": " + what);
}

// The archive's own folder, which is named after the file that was saved: with its slash.
std::string find_root(const ZipEntries& entries, const std::string& source) {
  std::string root;
  for (const auto& [name, entry] : entries) {
    const std::size_t slash = name.find('/');
    if (slash == name.npos || std::string_view(name).substr(slash) != kPickle) continue;
    if (!root.empty())
      fail(source, "has two pickles, " + quote(root + "data.pkl") + " and " + quote(name));
    root = name.substr(0, slash + 1);
  }
  if (root.empty()) fail(source, "has no data.pkl: expected a file of torch.save");
  return root;
}

// No small file makes many large tensors of one storage.
void check_total(const TorchFile& file, const std::string& source) {
  std::uint64_t stored = 0;
  for (const auto& [key, entry] : file.storages) stored += entry.end - entry.begin;
  std::uint64_t total = 0;
  for (const PickledTensor& tensor : file.tensors) {
    std::uint64_t bytes = static_cast<std::uint64_t>(safetensors_dtype_bits(tensor.dtype)) / 8;
    // Each is checked to be no more than its storage.
    for (const std::int64_t size : tensor.shape) bytes *= static_cast<std::uint64_t>(size);
    total += bytes;
    if (total > stored) {
      fail(source, "tensor " + quote(tensor.name) +
                       ": the tensors together have more bytes than the storages; shared ones are "
                       "not supported");
    }
  }
}

}  // namespace

TorchFile read_torch_file(std::span<const std::byte> file, const std::string& source) {
  const ZipEntries entries = read_zip_entries(file, source);
  const std::string root = find_root(entries, source);
  if (const auto order = entries.find(root + "byteorder"); order != entries.end()) {
    const auto bytes = file.subspan(order->second.begin, order->second.end - order->second.begin);
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (text != "little") fail(source, "byteorder is " + quote(text) + ": expected little");
  }
  TorchFile out;
  const std::string data = root + "data/";
  for (const auto& [name, entry] : entries) {
    if (name.starts_with(data)) out.storages.emplace(name.substr(data.size()), entry);
  }
  const auto& [pickle_name, pickle] = *entries.find(root + "data.pkl");
  if (pickle.end - pickle.begin > kMaxPickleBytes)
    fail(source, "data.pkl: more than " + std::to_string(kMaxPickleBytes) + " bytes");
  check_zip_entry(file, pickle_name, pickle, source);
  out.tensors = read_tensor_pickle(
      file.subspan(pickle.begin, pickle.end - pickle.begin),
      [&](std::string_view key) -> std::optional<std::uint64_t> {
        const auto found = out.storages.find(key);
        if (found == out.storages.end()) return std::nullopt;
        return found->second.end - found->second.begin;
      },
      source + ": data.pkl");
  check_total(out, source);
  std::set<std::string_view> checked;
  for (const PickledTensor& tensor : out.tensors) {
    if (!checked.insert(tensor.storage).second) continue;
    check_zip_entry(file, data + tensor.storage, out.storages.find(tensor.storage)->second, source);
  }
  return out;
}

}  // namespace seer
