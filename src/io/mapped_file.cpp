#include "io/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace seer {
namespace {

[[noreturn]] void fail(const std::string& name, const std::string& what) {
  throw std::runtime_error(name + ": " + what);
}

std::string reason(int error) {
  return std::generic_category().message(error);
}

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (number_ >= 0) close(number_);
  }
  int number() const { return number_; }

 private:
  int number_;
};

std::size_t page_size() {
  static const auto size = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return size;
}

}  // namespace

std::shared_ptr<const MappedFile> MappedFile::open(const std::filesystem::path& file) {
  std::string name = file.string();
  // O_NONBLOCK: opening a named pipe must not wait for its writer.
  const Descriptor descriptor(::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (descriptor.number() < 0) {
    const int error = errno;
    if (error == ENOENT) fail(name, "no such file");
    if (error == EACCES)
      fail(name,
           "cannot be read: permission denied (check the permissions of the file and its folder)");
    fail(name, "cannot be opened: " + reason(error));
  }
  struct stat status = {};
  if (fstat(descriptor.number(), &status) != 0) fail(name, "cannot be read: " + reason(errno));
  if (!S_ISREG(status.st_mode)) fail(name, "not a regular file");
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size > std::numeric_limits<std::size_t>::max())
    fail(name, "too large for this machine's address space");
  if (size == 0)
    return std::shared_ptr<const MappedFile>(new MappedFile(std::move(name), nullptr, 0));
  void* data = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor.number(), 0);
  if (data == MAP_FAILED) fail(name, "cannot be mapped into memory: " + reason(errno));
  return std::shared_ptr<const MappedFile>(
      new MappedFile(std::move(name), static_cast<const std::byte*>(data), size));
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::will_need(std::size_t offset, std::size_t length) const {
  if (offset >= size_) return;
  const std::size_t begin = offset / page_size() * page_size();
  const std::size_t end = offset + std::min(length, size_ - offset);
  madvise(const_cast<std::byte*>(data_ + begin), end - begin, MADV_WILLNEED);
}

void MappedFile::release(std::size_t offset, std::size_t length) const {
  if (offset >= size_) return;
  const std::size_t end = offset + std::min(length, size_ - offset);
  const std::size_t first = (offset + page_size() - 1) / page_size() * page_size();
  // The file's last page holds nothing behind the file's end.
  const std::size_t last = end == size_ ? end : end / page_size() * page_size();
  if (first < last) madvise(const_cast<std::byte*>(data_ + first), last - first, MADV_DONTNEED);
}

}  // namespace seer
