#include "io/digest.h"

#include <openssl/evp.h>

#include <stdexcept>

namespace seer {
namespace {

void check(int result) {
  if (result != 1) throw std::runtime_error("a digest cannot be computed: OpenSSL refuses");
}

EVP_MD_CTX* context_of(const std::shared_ptr<void>& context) {
  return static_cast<EVP_MD_CTX*>(context.get());
}

}  // namespace

Digest::Digest(const char* name)
    : context_(EVP_MD_CTX_new(),
               [](void* context) { EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(context)); }) {
  const std::unique_ptr<EVP_MD, void (*)(EVP_MD*)> kind(EVP_MD_fetch(nullptr, name, nullptr),
                                                        EVP_MD_free);
  if (kind == nullptr || context_ == nullptr) {
    throw std::runtime_error(std::string("OpenSSL has no ") + name +
                             ": downloads cannot be checked");
  }
  check(EVP_DigestInit_ex(context_of(context_), kind.get(), nullptr));
}

Digest Digest::sha256() {
  return Digest("SHA256");
}

Digest Digest::git_blob(std::uint64_t size) {
  Digest digest("SHA1");
  const std::string header = "blob " + std::to_string(size);
  digest.update(std::string_view(header.c_str(), header.size() + 1));
  return digest;
}

void Digest::update(std::string_view bytes) {
  check(EVP_DigestUpdate(context_of(context_), bytes.data(), bytes.size()));
}

std::string Digest::finish() {
  unsigned char bytes[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  check(EVP_DigestFinal_ex(context_of(context_), bytes, &size));
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (unsigned i = 0; i < size; ++i) {
    text += kDigits[bytes[i] >> 4];
    text += kDigits[bytes[i] & 15];
  }
  return text;
}

}  // namespace seer
