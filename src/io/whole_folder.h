// Folders that are written whole or not at all.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace seer {

// A new file. Errors are std::runtime_error naming the path and, for a full disk, what to do.
class OutputFile {
 public:
  explicit OutputFile(const std::filesystem::path& path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }
  // Its bytes are on the disk when this returns.
  void finish();

 private:
  std::filesystem::path path_;
  int descriptor_;
};

// Files are written to path(), a folder beside the wanted one, which takes its place in one step; without keep() it
// disappears. What a killed process left of such a folder disappears when the next one writes the same.
class WholeFolder {
 public:
  // `folder` may exist when it holds nothing but files named in `replaceable`, which are then replaced together.
  // Missing parents are made. Throws std::runtime_error naming the path.
  WholeFolder(const std::filesystem::path& folder, const std::vector<std::string>& replaceable);
  ~WholeFolder();
  WholeFolder(const WholeFolder&) = delete;
  WholeFolder& operator=(const WholeFolder&) = delete;

  const std::filesystem::path& path() const { return aside_; }
  // Every file must be finished.
  void keep();

 private:
  std::filesystem::path folder_, aside_;
  int lock_ = -1;  // descriptor of the folder aside
  bool kept_ = false;
};

}  // namespace seer
