#include "io/whole_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <system_error>

namespace seer {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const fs::path& path, const char* action, int error) {
  std::string what = path.string() + ": cannot " + action + ": " + std::strerror(error);
  if (error == ENOSPC || error == EDQUOT) what += " (free some space, or choose another folder)";
  if (error == EACCES || error == EROFS) what += " (choose a folder that you may write to)";
  throw std::runtime_error(what);
}

// The names in a folder reach the disk with it. A folder that cannot be opened for that is no reason to fail.
void sync_folder(const fs::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  ::fsync(descriptor);
  ::close(descriptor);
}

void check_replaceable(const fs::path& folder, const std::vector<std::string>& names) {
  std::error_code error;
  if (!fs::exists(folder, error)) return;
  if (!fs::is_directory(folder, error)) {
    throw std::runtime_error(folder.string() + ": is a file, expected a folder or a new name");
  }
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      throw std::runtime_error(
          folder.string() + ": holds " + name + ", which would be lost: expected a new folder" +
          (names.empty() ? " or an empty one" : ", an empty one or one of the same kind"));
    }
  }
  if (error) fail(folder, "read the folder", error.value());
}

std::string aside_prefix(const fs::path& folder) {
  return folder.filename().string() + ".part-";
}

// The lock on a folder that tells others that its process lives: the system takes it back however that ends. -1 where
// another process has it, or the file system has no such locks.
int lock_folder(const fs::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor >= 0 && ::flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
    ::close(descriptor);
    return -1;
  }
  return descriptor;
}

// What killed processes left beside `folder`: a checkpoint's part may be as large as the checkpoint.
void remove_abandoned(const fs::path& folder) {
  const std::string prefix = aside_prefix(folder);
  std::error_code error;
  std::vector<fs::path> abandoned;
  for (fs::directory_iterator entry(folder.parent_path(), error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    const bool is_part = name.size() > prefix.size() && name.starts_with(prefix) &&
                         name.find_first_not_of("0123456789", prefix.size()) == std::string::npos;
    if (is_part) abandoned.push_back(entry->path());
  }
  for (const fs::path& part : abandoned) {
    const int lock = lock_folder(part);
    if (lock < 0) continue;
    fs::remove_all(part, error);
    ::close(lock);
  }
}

// `aside` becomes `folder`, and what was there before becomes `aside`.
void exchange(const fs::path& aside, const fs::path& folder) {
#ifdef RENAME_EXCHANGE
  if (::renameat2(AT_FDCWD, aside.c_str(), AT_FDCWD, folder.c_str(), RENAME_EXCHANGE) == 0) return;
  if (errno != EINVAL && errno != ENOSYS) fail(folder, "replace the folder", errno);
#endif
  // A file system without exchange: for a moment there is no folder, but both are whole.
  const fs::path before = aside.string() + ".before";
  if (::rename(folder.c_str(), before.c_str()) != 0) fail(folder, "replace the folder", errno);
  if (::rename(aside.c_str(), folder.c_str()) != 0) {
    const int error = errno;
    ::rename(before.c_str(), folder.c_str());
    fail(folder, "replace the folder", error);
  }
  ::rename(before.c_str(), aside.c_str());
}

}  // namespace

OutputFile::OutputFile(const fs::path& path)
    : path_(path),
      descriptor_(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666)) {
  if (descriptor_ < 0) fail(path, "create the file", errno);
}

OutputFile::~OutputFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void OutputFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail(path_, "write", errno);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

void OutputFile::finish() {
  if (::fsync(descriptor_) != 0) fail(path_, "sync", errno);
  const int closed = ::close(descriptor_);
  descriptor_ = -1;
  if (closed != 0) fail(path_, "close", errno);
}

WholeFolder::WholeFolder(const fs::path& folder, const std::vector<std::string>& replaceable) {
  std::error_code error;
  // A link to a folder stays a link; a slash at the end names nothing. Absolute, since newer standard libraries leave a
  // relative path to nothing as it is, and a folder to make it in is needed.
  const fs::path named = folder.has_filename() ? folder : folder.parent_path();
  if (!named.empty()) folder_ = fs::weakly_canonical(fs::absolute(named), error);
  if (error || !folder_.has_filename())
    throw std::runtime_error("'" + folder.string() + "': names no folder to write");
  check_replaceable(folder_, replaceable);
  fs::create_directories(folder_.parent_path(), error);
  if (error) fail(folder_.parent_path(), "create the folder", error.value());
  remove_abandoned(folder_);
  aside_ = folder_.parent_path() / (aside_prefix(folder_) + std::to_string(::getpid()));
  fs::remove_all(aside_, error);  // where the file system has no locks
  if (::mkdir(aside_.c_str(), 0777) != 0) fail(folder_, "create a folder there", errno);
  lock_ = lock_folder(aside_);
}

WholeFolder::~WholeFolder() {
  std::error_code error;
  if (!kept_) fs::remove_all(aside_, error);
  if (lock_ >= 0) ::close(lock_);
}

void WholeFolder::keep() {
  sync_folder(aside_);
  std::error_code error;
  if (fs::exists(folder_, error)) {
    exchange(aside_, folder_);
    kept_ = true;
    fs::remove_all(aside_, error);
  } else {
    if (::rename(aside_.c_str(), folder_.c_str()) != 0) fail(folder_, "create the folder", errno);
    kept_ = true;
  }
  sync_folder(folder_.parent_path());
}

}  // namespace seer
