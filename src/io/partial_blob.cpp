#include "io/partial_blob.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace seer {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail_file(const fs::path& path, const char* action, int error) {
  std::string what = path.string() + ": cannot " + action + ": " + std::strerror(error);
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) {
    what +=
        ". What has arrived is kept: make room, or choose another folder with --cache-dir, and run "
        "the same "
        "command again";
  }
  throw std::runtime_error(what);
}

}  // namespace

PartialBlob::PartialBlob(const fs::path& path, const HubFile& file)
    : path_(path), file_(file), digest_(new_digest()) {
  descriptor_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (descriptor_ < 0) fail_file(path_, "be written", errno);
  struct stat status {};
  if (::fstat(descriptor_, &status) == 0) present_ = static_cast<std::uint64_t>(status.st_size);
}

PartialBlob::~PartialBlob() {
  ::close(descriptor_);
}

Digest PartialBlob::new_digest() const {
  return file_.sha256.empty() ? Digest::git_blob(*file_.size) : Digest::sha256();
}

void PartialBlob::read_present(const std::function<void()>& check) {
  if (present_ > *file_.size) return restart();
  std::string buffer(std::size_t{1} << 20, '\0');
  for (std::uint64_t at = 0; at < present_;) {
    if (check) check();
    const ssize_t got = ::pread(descriptor_, buffer.data(), buffer.size(), static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_file(path_, "be read", errno);
    if (got == 0) throw std::runtime_error(path_.string() + ": became shorter while it was read");
    digest_.update(std::string_view(buffer.data(), static_cast<std::size_t>(got)));
    at += static_cast<std::uint64_t>(got);
  }
}

void PartialBlob::append(std::string_view bytes) {
  if (bytes.size() > *file_.size - present_) {
    throw std::runtime_error(file_.name + ": the server sends more than the " +
                             std::to_string(*file_.size) + " bytes that it announced");
  }
  while (!bytes.empty()) {
    const ssize_t put =
        ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(present_));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fail_file(path_, "be written", errno);
    digest_.update(bytes.substr(0, static_cast<std::size_t>(put)));
    present_ += static_cast<std::uint64_t>(put);
    bytes.remove_prefix(static_cast<std::size_t>(put));
  }
}

void PartialBlob::restart() {
  if (::ftruncate(descriptor_, 0) != 0) fail_file(path_, "be emptied", errno);
  present_ = 0;
  digest_ = new_digest();
}

std::string PartialBlob::wrong_digest() {
  const std::string got = digest_.finish();
  return got == (file_.sha256.empty() ? file_.git_sha1 : file_.sha256) ? "" : got;
}

void PartialBlob::rename_to(const fs::path& blob) {
  if (::fsync(descriptor_) != 0) fail_file(path_, "be synced", errno);
  if (::rename(path_.c_str(), blob.c_str()) != 0) fail_file(blob, "get its name", errno);
  const int folder = ::open(blob.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder >= 0) {
    ::fsync(folder);
    ::close(folder);
  }
}

}  // namespace seer
