// Model folders for tests of the readers.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace seer::test {

// A folder that is removed with everything in it.
class TemporaryFolder {
 public:
  TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder();
  const std::filesystem::path& path() const { return path_; }
  // Writes a file below it.
  void write(const std::string& name, std::string_view content) const;

 private:
  std::filesystem::path path_;
};

struct StoredTensor {
  std::string name;
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::string bytes;
};

template <typename T>
std::string bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

// A safetensors file with these tensors in this order. `padding` spaces follow the header, which shifts the data.
std::string safetensors_file(const std::vector<StoredTensor>& tensors, int padding = 0);

std::string read_bytes(const std::filesystem::path& file);

// The message of the std::runtime_error that `action` throws; "" when it throws none.
std::string runtime_error_of(const auto& action) {
  try {
    action();
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "";
}

}  // namespace seer::test
