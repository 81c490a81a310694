// A file that is being downloaded: <blob>.incomplete, and the digest of what is in it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "io/digest.h"
#include "io/hub_index.h"

namespace seer {

// Errors are std::runtime_error that names the path and says what to do about a full disk.
class PartialBlob {
 public:
  // `file` outlives this; its size and one of its digests are known.
  PartialBlob(const std::filesystem::path& path, const HubFile& file);
  ~PartialBlob();
  PartialBlob(const PartialBlob&) = delete;
  PartialBlob& operator=(const PartialBlob&) = delete;

  std::uint64_t size() const { return present_; }
  bool whole() const { return present_ == *file_.size; }

  // Reads what an earlier download has left. `check` may throw.
  void read_present(const std::function<void()>& check);
  void append(std::string_view bytes);
  void restart();
  // Empty when the digest is the expected one, else what it is. Once, of a whole file.
  std::string wrong_digest();
  // Gives the file its name, once its bytes are on the disk.
  void rename_to(const std::filesystem::path& blob);

 private:
  Digest new_digest() const;

  std::filesystem::path path_;
  const HubFile& file_;
  Digest digest_;
  int descriptor_ = -1;
  std::uint64_t present_ = 0;
};

}  // namespace seer
