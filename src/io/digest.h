// The digests by which a hub names its files.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace seer {

class Digest {
 public:
  static Digest sha256();
  // Git's SHA-1 of a blob, which begins with the blob's size.
  static Digest git_blob(std::uint64_t size);

  void update(std::string_view bytes);
  std::string finish();  // lower-case hexadecimal; once

 private:
  explicit Digest(const char* name);

  std::shared_ptr<void> context_;
};

}  // namespace seer
