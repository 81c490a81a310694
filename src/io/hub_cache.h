// The cache on the disk, as huggingface_hub lays it out, so that both find each other's files:
//   models--org--name/blobs/<digest>              the bytes of a file
//   models--org--name/snapshots/<commit>/<file>   a link to them
//   models--org--name/refs/<revision>             a commit
//   .locks/models--org--name/<digest>.lock        held while a blob is being written
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "seer/hub.h"

namespace seer {

class HubCache {
 public:
  HubCache(std::filesystem::path cache, const std::string& id);

  std::filesystem::path model_folder() const { return model_; }
  std::filesystem::path blob(const std::string& digest) const { return model_ / "blobs" / digest; }
  std::filesystem::path snapshot(const std::string& commit) const {
    return model_ / "snapshots" / commit;
  }

  // The commit of a branch, a tag or a commit's own name; nothing where it was not pulled.
  std::optional<std::string> commit_of(const std::string& revision) const;

  void make_folders() const;
  void write_ref(const std::string& revision, const std::string& commit) const;
  // Makes snapshots/<commit>/<file> a link to the blob.
  void link(const std::string& commit, const std::string& file, const std::string& digest) const;
  std::filesystem::path lock_file(const std::string& digest) const;

 private:
  std::filesystem::path cache_;
  std::string folder_name_;
  std::filesystem::path model_;
};

// Throws std::runtime_error for a revision that is no name of a branch, tag or commit.
void check_revision(const std::string& revision);

// Holds a file's lock against other processes, huggingface_hub's among them. Waits for it, with a call of `waiting`
// every 100 milliseconds, which may throw.
class FileLock {
 public:
  FileLock(const std::filesystem::path& file, const std::function<void()>& waiting);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  int descriptor_ = -1;
};

}  // namespace seer
