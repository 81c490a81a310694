#include "io/hub_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <system_error>
#include <thread>

#include "base/quote.h"
#include "base/whole_file.h"
#include "io/hub_index.h"

namespace seer {
namespace {

namespace fs = std::filesystem;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

bool is_true(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text == "1" || text == "TRUE" || text == "YES" || text == "ON";
}

fs::path expanded(const std::string& path) {
  if (path == "~" || path.starts_with("~/")) return environment("HOME") + path.substr(1);
  return path;
}

// The first line of a small file, without white space at its ends.
std::string first_line(const fs::path& file) {
  std::ifstream in(file);
  std::string line(4096, '\0');
  in.read(line.data(), static_cast<std::streamsize>(line.size()));
  line.resize(static_cast<std::size_t>(in.gcount()));
  line.resize(std::min(line.size(), line.find_first_of("\r\n")));
  const std::size_t begin = line.find_first_not_of(" \t");
  if (begin == std::string::npos) return "";
  return line.substr(begin, line.find_last_not_of(" \t") + 1 - begin);
}

void make_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) {
    throw std::runtime_error(folder.string() + ": the folder cannot be made: " + error.message() +
                             ". Another cache folder: --cache-dir, HF_HUB_CACHE or HF_HOME");
  }
}

bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= 96 && std::strchr("-.", text.front()) == nullptr &&
         std::strchr("-.", text.back()) == nullptr && text.find("--") == text.npos &&
         text.find("..") == text.npos && std::all_of(text.begin(), text.end(), [](unsigned char c) {
           return c < 0x80 && (std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.');
         });
}

}  // namespace

HubSettings hub_settings() {
  HubSettings settings;
  settings.endpoint = environment("HF_ENDPOINT");
  if (settings.endpoint.empty()) settings.endpoint = "https://huggingface.co";
  while (settings.endpoint.ends_with('/')) settings.endpoint.pop_back();

  fs::path home = expanded(environment("HF_HOME"));
  if (home.empty()) {
    const std::string base = environment("XDG_CACHE_HOME");
    home =
        (base.empty() ? fs::path(environment("HOME")) / ".cache" : expanded(base)) / "huggingface";
  }
  settings.cache = expanded(environment("HF_HUB_CACHE"));
  if (settings.cache.empty()) settings.cache = home / "hub";

  settings.token_file = expanded(environment("HF_TOKEN_PATH"));
  if (settings.token_file.empty()) settings.token_file = home / "token";
  settings.token = environment("HF_TOKEN");
  if (settings.token.empty()) settings.token = first_line(settings.token_file);
  const bool plain = std::all_of(settings.token.begin(), settings.token.end(),
                                 [](unsigned char c) { return c > 0x20 && c < 0x7F; });
  if (!plain) {
    throw std::runtime_error("the token of HF_TOKEN or " + settings.token_file.string() +
                             " has characters that no token has");
  }
  settings.offline = is_true(environment("HF_HUB_OFFLINE"));
  return settings;
}

bool is_model_id(std::string_view text) {
  const std::size_t slash = text.find('/');
  return slash != text.npos && is_name(text.substr(0, slash)) && is_name(text.substr(slash + 1));
}

void check_revision(const std::string& revision) {
  std::string_view rest = revision;
  bool good = revision.size() <= 255;
  while (good) {
    const std::size_t slash = rest.find('/');
    const std::string_view part = rest.substr(0, slash);
    good = !part.empty() && part.front() != '.' && part.find("..") == part.npos &&
           std::all_of(part.begin(), part.end(), [](unsigned char c) {
             return c > 0x20 && c != 0x7F && std::strchr("\\~^:?*[", c) == nullptr;
           });
    if (slash == rest.npos) break;
    rest.remove_prefix(slash + 1);
  }
  if (!good) {
    throw std::runtime_error("the revision " + quote(revision) +
                             ": expected a branch, a tag or a commit");
  }
}

HubCache::HubCache(fs::path cache, const std::string& id) : cache_(std::move(cache)) {
  if (!is_model_id(id)) {
    throw std::runtime_error("the model " + quote(id) +
                             ": expected org/name, such as Qwen/Qwen3-0.6B");
  }
  const std::size_t slash = id.find('/');
  folder_name_ = "models--" + id.substr(0, slash) + "--" + id.substr(slash + 1);
  model_ = cache_ / folder_name_;
}

std::optional<std::string> HubCache::commit_of(const std::string& revision) const {
  check_revision(revision);
  const std::string commit =
      is_commit(revision) ? revision : first_line(model_ / "refs" / revision);
  std::error_code error;
  if (!is_commit(commit) || !fs::is_directory(snapshot(commit), error)) return std::nullopt;
  return commit;
}

void HubCache::make_folders() const {
  for (const char* name : {"blobs", "refs", "snapshots"}) make_folder(model_ / name);
  make_folder(cache_ / ".locks" / folder_name_);
}

void HubCache::write_ref(const std::string& revision, const std::string& commit) const {
  if (revision == commit) return;
  const fs::path file = model_ / "refs" / revision;
  make_folder(file.parent_path());
  write_whole_file(file.string(), commit);
}

void HubCache::link(const std::string& commit, const std::string& file,
                    const std::string& digest) const {
  const fs::path name = snapshot(commit) / file;
  make_folder(name.parent_path());
  std::string up = "../../";
  for (const char c : file) up += c == '/' ? "../" : "";
  const fs::path target = up + "blobs/" + digest;
  std::error_code error;
  if (fs::is_symlink(name, error) && fs::read_symlink(name, error) == target) return;
  // Aside and renamed, so that the name never is without a file.
  const fs::path aside = name.string() + ".part-" + std::to_string(::getpid());
  fs::remove(aside, error);
  fs::create_symlink(target, aside, error);
  if (!error) fs::rename(aside, name, error);
  if (error) {
    throw std::runtime_error(
        name.string() + ": the link to the file's bytes cannot be made: " + error.message() +
        ". The cache needs a file system with symbolic links: choose one with --cache-dir");
  }
}

fs::path HubCache::lock_file(const std::string& digest) const {
  return cache_ / ".locks" / folder_name_ / (digest + ".lock");
}

FileLock::FileLock(const fs::path& file, const std::function<void()>& waiting)
    : descriptor_(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)) {
  if (descriptor_ < 0)
    throw std::runtime_error(file.string() + ": cannot be opened: " + std::strerror(errno));
  while (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
    const int error = errno;
    try {
      if (error != EWOULDBLOCK && error != EINTR) {
        throw std::runtime_error(file.string() + ": cannot be locked: " + std::strerror(error));
      }
      waiting();
    } catch (...) {
      ::close(descriptor_);
      throw;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

FileLock::~FileLock() {
  ::close(descriptor_);  // which unlocks it
}

fs::path resolve_model(const std::string& model, const std::string& revision,
                       const HubSettings& settings) {
  std::error_code error;
  const fs::file_status status = fs::status(model, error);
  if (fs::is_directory(status)) return model;
  if (status.type() == fs::file_type::none) {
    throw std::runtime_error(quote(model) + ": cannot be looked up: " + error.message());
  }
  if (fs::exists(status)) {
    throw std::runtime_error(quote(model) +
                             " is no folder: expected a model's folder, with config.json in it");
  }
  if (!is_model_id(model)) {
    throw std::runtime_error(
        quote(model) +
        ": no such folder; expected a model's folder, or org/name of a model in "
        "the cache");
  }
  const HubCache cache(settings.cache, model);
  if (const auto commit = cache.commit_of(revision)) return cache.snapshot(*commit);
  const bool main = revision == "main";
  throw std::runtime_error(model + ": no such folder, and the cache " + settings.cache.string() +
                           " has no model of this name" + (main ? "" : " at revision " + revision) +
                           ". Download it: seer pull " + model +
                           (main ? "" : " --revision " + revision));
}

fs::path resolve_model(const std::string& model) {
  // A folder needs no cache, so that its settings are not read for it: they may be wrong.
  std::error_code error;
  if (fs::is_directory(model, error)) return model;
  return resolve_model(model, "main", hub_settings());
}

}  // namespace seer
