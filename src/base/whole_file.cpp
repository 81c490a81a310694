#include "base/whole_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <stdexcept>

namespace seer {
namespace {

[[noreturn]] void fail(const std::string& path, const char* action, int error) {
  throw std::runtime_error(path + ": cannot " + action + ": " + std::strerror(error));
}

std::string folder_of(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

// A file beside the wanted one that disappears unless it is kept.
class AsideFile {
 public:
  explicit AsideFile(const std::string& path)
      : path_(path), aside_(path + ".part-" + std::to_string(::getpid())) {
    descriptor_ = ::open(aside_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (descriptor_ < 0) fail(path, "create a file there", errno);
  }
  ~AsideFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
    if (!kept_) ::unlink(aside_.c_str());
  }
  AsideFile(const AsideFile&) = delete;
  AsideFile& operator=(const AsideFile&) = delete;

  void write(std::string_view text) {
    while (!text.empty()) {
      const ssize_t written = ::write(descriptor_, text.data(), text.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) fail(path_, "write", errno);
      text.remove_prefix(static_cast<std::size_t>(written));
    }
  }

  void keep() {
    if (::fsync(descriptor_) != 0) fail(path_, "sync", errno);
    const int closed = ::close(descriptor_);
    descriptor_ = -1;
    if (closed != 0) fail(path_, "close", errno);
    if (::rename(aside_.c_str(), path_.c_str()) != 0) fail(path_, "replace the file", errno);
    kept_ = true;
  }

 private:
  std::string path_;
  std::string aside_;
  int descriptor_ = -1;
  bool kept_ = false;
};

}  // namespace

void check_writable(const std::string& path) {
  if (std::filesystem::is_directory(path)) fail(path, "write", EISDIR);
  AsideFile probe(path);
}

void write_whole_file(const std::string& path, std::string_view text) {
  AsideFile file(path);
  file.write(text);
  file.keep();
  // The new name itself survives a power failure only when its folder is synced; a folder that
  // cannot be opened for that is no reason to fail.
  const int folder = ::open(folder_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder >= 0) {
    ::fsync(folder);
    ::close(folder);
  }
}

}  // namespace seer
