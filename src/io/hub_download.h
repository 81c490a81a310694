// Brings one file of a hub into the cache's blobs.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "io/hub_cache.h"
#include "io/hub_index.h"

namespace seer {

class HttpClient;
struct HttpResponse;

// True for success, false for what may be tried again (408, 429 and 5xx). Throws std::runtime_error that says what to
// do for all else.
bool check_answer(const HttpResponse& response, const std::string& url, const std::string& id,
                  const HubSettings& settings);

constexpr int kMaxTries = 5;  // in a row without any progress

// Waits so long before the next try, after `tries` tries. `check` may throw.
void wait_before_retry(int tries, const std::function<void()>& check);

struct DownloadJob {
  std::string id;
  std::string commit;
  HubFile file;                                 // its size and one of its digests are known
  std::string digest;                           // the blob's name
  std::function<void(std::uint64_t)> on_bytes;  // present so far
  std::function<void(const std::string&)> on_message;
  std::function<void()> check;
};

// Writes the blob, unless it is there. Returns the bytes that were downloaded. Continues <blob>.incomplete, which stays
// when this throws.
std::uint64_t download_blob(HttpClient& http, const HubSettings& settings, const HubCache& cache,
                            const DownloadJob& job);

}  // namespace seer
