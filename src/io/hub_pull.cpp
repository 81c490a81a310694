#include <algorithm>
#include <charconv>
#include <stdexcept>
#include <system_error>

#include "base/quote.h"
#include "io/http.h"
#include "io/hub_cache.h"
#include "io/hub_download.h"
#include "io/hub_index.h"
#include "seer/hub.h"

namespace seer {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kSpareBytes = std::uint64_t{64} << 20;

// Calls a request until it is answered. Answers that no other try can mend throw.
template <typename Request>
HttpResponse ask(const std::string& url, const std::string& id, const PullOptions& options,
                 const Request& request) {
  for (int tries = 1;; ++tries) {
    std::string problem;
    try {
      HttpResponse response = request();
      if (check_answer(response, url, id, options.settings)) return response;
      problem = url + ": HTTP " + std::to_string(response.status);
    } catch (const TransportError& error) {
      problem = error.what();
    }
    if (tries >= kMaxTries) {
      throw std::runtime_error(
          problem + " (given up after " + std::to_string(tries) +
          " tries). Is the network reachable? Another endpoint: --endpoint or HF_ENDPOINT");
    }
    options.on_message(problem + "; trying again");
    wait_before_retry(tries, options.check);
  }
}

// "W/\"abc\"" -> abc
std::string plain_etag(std::string etag) {
  if (etag.starts_with("W/")) etag.erase(0, 2);
  std::erase(etag, '"');
  return etag;
}

std::string digest_of(const HubFile& file) {
  return file.sha256.empty() ? file.git_sha1 : file.sha256;
}

// What the index did not say of a file, from the headers of its address.
void complete_file(HttpClient& http, HubFile& file, const std::string& id,
                   const std::string& commit, const PullOptions& options) {
  if (file.size && !digest_of(file).empty()) return;
  const std::string url = options.settings.endpoint + "/" + id + "/resolve/" + commit + "/" +
                          HttpClient::encoded(file.name);
  const HttpResponse response = ask(url, id, options, [&] { return http.head(url); });
  std::string etag = plain_etag(response.endpoint_header("x-linked-etag"));
  if (etag.empty()) etag = plain_etag(response.endpoint_header("etag"));
  if (is_sha256(etag)) {
    file.sha256 = etag;
  } else if (is_commit(etag)) {
    file.git_sha1 = etag;
  } else {
    throw std::runtime_error(url + ": the server says no digest of this file (ETag " + quote(etag) +
                             "), so it could not be checked. Is " + options.settings.endpoint +
                             " a hub?");
  }
  std::string size = response.endpoint_header("x-linked-size");
  if (size.empty()) size = response.header("content-length");
  std::uint64_t bytes = 0;
  const auto read = std::from_chars(size.data(), size.data() + size.size(), bytes);
  if (read.ec != std::errc() || read.ptr != size.data() + size.size() || bytes > kMaxHubFileBytes) {
    throw std::runtime_error(url + ": the size " + quote(size) + " is refused");
  }
  file.size = bytes;
}

HubIndex fetch_index(HttpClient& http, const std::string& id, const PullOptions& options) {
  const std::string url = options.settings.endpoint + "/api/models/" + id + "/revision/" +
                          HttpClient::encoded(options.revision) + "?blobs=true";
  const HttpResponse response =
      ask(url, id, options, [&] { return http.get_text(url, kMaxHubIndexBytes); });
  HubIndex index = parse_hub_index(response.body, url);
  if (is_commit(options.revision) && index.commit != options.revision) {
    throw std::runtime_error(url + ": the server answers with commit " + index.commit + " instead");
  }
  return index;
}

std::string gigabytes(std::uint64_t bytes) {
  const std::uint64_t tenths = (bytes + 50'000'000) / 100'000'000;
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " GB";
}

void check_room(const HubCache& cache, const std::vector<HubFile>& files) {
  std::uint64_t missing = 0;
  for (const HubFile& file : files) {
    const fs::path blob = cache.blob(digest_of(file));
    std::error_code error;
    if (fs::exists(blob, error)) continue;
    const std::uintmax_t present = fs::file_size(blob.string() + ".incomplete", error);
    missing += *file.size - (error ? 0 : std::min<std::uint64_t>(*file.size, present));
  }
  std::error_code error;
  const fs::space_info space = fs::space(cache.model_folder(), error);
  if (error || missing == 0 || missing + kSpareBytes <= space.available) return;
  throw std::runtime_error(
      cache.model_folder().string() + ": " + gigabytes(missing) + " are to be downloaded, and " +
      gigabytes(space.available) +
      " are free. Make room, or choose another folder with --cache-dir or HF_HUB_CACHE");
}

std::string usable_token(const PullOptions& options) {
  const HubSettings& settings = options.settings;
  if (is_encrypted(settings.endpoint) || is_loopback(settings.endpoint)) return settings.token;
  options.on_message("the endpoint " + settings.endpoint + " is not encrypted: " +
                     (settings.token.empty() ? "" : "the token is not sent to it, and ") +
                     "what it sends cannot be trusted more than the network in between");
  return "";
}

}  // namespace

PulledModel pull_model(const std::string& id, const PullOptions& given) {
  PullOptions options = given;
  if (!options.on_message) options.on_message = [](const std::string&) {};
  HubSettings& settings = options.settings;
  while (settings.endpoint.ends_with('/')) settings.endpoint.pop_back();
  check_endpoint(settings.endpoint);
  check_revision(options.revision);
  if (settings.offline) {
    throw std::runtime_error("HF_HUB_OFFLINE is set, so nothing is downloaded: unset it to pull " +
                             id);
  }
  const HubCache cache(settings.cache, id);
  HttpClient http(settings.endpoint, usable_token(options), options.check);

  const HubIndex index = fetch_index(http, id, options);
  std::vector<HubFile> files = wanted_files(index);
  const bool weights = std::any_of(files.begin(), files.end(), [](const HubFile& file) {
    return file.name.ends_with(".safetensors");
  });
  if (!weights) {
    throw std::runtime_error(
        id + " at revision " + options.revision +
        " has no *.safetensors. Seer reads no pickled weights (.bin, .pth) and no GGUF: look for "
        "another revision or model that has them");
  }
  for (HubFile& file : files) complete_file(http, file, id, index.commit, options);
  cache.make_folders();
  check_room(cache, files);

  PulledModel pulled{cache.snapshot(index.commit), index.commit, files.size(), 0, 0};
  PullProgress progress;
  progress.files = files.size();
  for (const HubFile& file : files) progress.size += *file.size;
  for (const HubFile& file : files) {
    if (options.check) options.check();
    progress.file = file.name;
    ++progress.file_number;
    progress.file_size = *file.size;
    const auto on_bytes = [&](std::uint64_t present) {
      progress.file_bytes = present;
      progress.bytes = pulled.bytes + present;
      if (options.on_progress) options.on_progress(progress);
    };
    const DownloadJob job{id,       index.commit,       file,         digest_of(file),
                          on_bytes, options.on_message, options.check};
    pulled.downloaded += download_blob(http, settings, cache, job);
    on_bytes(*file.size);
    pulled.bytes += *file.size;
    cache.link(index.commit, file.name, job.digest);
  }
  cache.write_ref(options.revision, index.commit);
  return pulled;
}

}  // namespace seer
