#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

namespace seer {

// A whole file mapped for reading. Its pages are private and clean: the system may drop them and read them again.
class MappedFile {
 public:
  // Throws std::runtime_error naming the file: missing, unreadable, no regular file.
  static std::shared_ptr<const MappedFile> open(const std::filesystem::path& file);

  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  const std::string& name() const { return name_; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }

  // Asks the system to read these bytes ahead.
  void will_need(std::size_t offset, std::size_t length) const;
  // Takes the pages that lie wholly in these bytes out of the process's resident memory; what is read from them later
  // comes from the file again.
  void release(std::size_t offset, std::size_t length) const;

 private:
  MappedFile(std::string name, const std::byte* data, std::size_t size)
      : name_(std::move(name)), data_(data), size_(size) {}

  std::string name_;
  const std::byte* data_;  // null for an empty file
  std::size_t size_;
};

}  // namespace seer
