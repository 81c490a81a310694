#include "io/hub_download.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <thread>

#include "base/quote.h"
#include "io/http.h"
#include "io/partial_blob.h"

namespace seer {
namespace {

namespace fs = std::filesystem;

// "bytes 100-199/200" begins at 100.
std::optional<std::uint64_t> range_start(const std::string& content_range) {
  if (!content_range.starts_with("bytes ")) return std::nullopt;
  std::uint64_t start = 0;
  std::size_t at = 6;
  for (;
       at < content_range.size() && content_range[at] >= '0' && content_range[at] <= '9' && at < 24;
       ++at) {
    start = start * 10 + static_cast<std::uint64_t>(content_range[at] - '0');
  }
  if (at == 6 || at >= content_range.size() || content_range[at] != '-') return std::nullopt;
  return start;
}

std::string address_of(const DownloadJob& job, const HubSettings& settings) {
  std::string url = settings.endpoint + "/" + job.id + "/resolve/" + job.commit;
  for (std::size_t at = 0; at != std::string::npos;) {
    const std::size_t slash = job.file.name.find('/', at);
    url += '/';
    url += HttpClient::encoded(std::string_view(job.file.name).substr(at, slash - at));
    at = slash == std::string::npos ? slash : slash + 1;
  }
  return url;
}

// One request for what is missing. What went wrong, where another try may help; else empty.
std::string fetch(HttpClient& http, const HubSettings& settings, const DownloadJob& job,
                  PartialBlob& blob, std::uint64_t& downloaded) {
  const std::string url = address_of(job, settings);
  const std::uint64_t wanted_start = blob.size();
  bool begun = false;
  const auto sink = [&](const HttpResponse& head, std::string_view bytes) {
    if (!begun) {
      begun = true;
      if (head.status != 206 && wanted_start > 0) blob.restart();  // the server knows no ranges
      if (head.status == 206 && range_start(head.header("content-range")) != wanted_start) {
        throw TransportError(url + ": the server sends another range than was asked for");
      }
    }
    blob.append(bytes);
    downloaded += bytes.size();
    job.on_bytes(blob.size());
  };
  try {
    const HttpResponse response = http.get(url, wanted_start, sink);
    if (response.status == 416) {  // what is there is no beginning of the file
      blob.restart();
      return "the server refuses to go on where the file ends";
    }
    const std::string commit = response.endpoint_header("x-repo-commit");
    if (response.status < 300 && !commit.empty() && commit != job.commit) {
      throw std::runtime_error(url + ": the server answers with commit " + quote(commit) +
                               " instead");
    }
    if (!check_answer(response, url, job.id, settings))
      return "HTTP " + std::to_string(response.status);
    return blob.whole() ? "" : "the answer ended early";
  } catch (const TransportError& error) {
    return error.what();
  }
}

// Requests until the file is whole.
void fetch_all(HttpClient& http, const HubSettings& settings, const DownloadJob& job,
               PartialBlob& blob, std::uint64_t& downloaded) {
  for (int tries = 0; !blob.whole();) {
    const std::uint64_t before = blob.size();
    const std::string problem = fetch(http, settings, job, blob, downloaded);
    if (problem.empty()) break;
    tries = blob.size() > before ? 1 : tries + 1;
    if (tries >= kMaxTries) {
      throw std::runtime_error(job.file.name + ": given up after " + std::to_string(tries) +
                               " tries: " + problem +
                               ". What has arrived is kept: run the same command again");
    }
    job.on_message(job.file.name + ": " + problem + "; trying again");
    wait_before_retry(tries, job.check);
  }
}

}  // namespace

bool check_answer(const HttpResponse& response, const std::string& url, const std::string& id,
                  const HubSettings& settings) {
  const std::int64_t status = response.status;
  if (status >= 200 && status < 300) return true;
  if (status == 408 || status == 429 || (status >= 500 && status < 600)) return false;
  const std::string page = settings.endpoint + "/" + id;
  const std::string what = url + ": HTTP " + std::to_string(status) + ": ";
  if (status == 401 && settings.token.empty()) {
    throw std::runtime_error(
        what + "the model does not exist, or it is private or gated. If it is, ask for access on " +
        page + " and give a token: set HF_TOKEN, or write it to " + settings.token_file.string());
  }
  if (status == 401) {
    throw std::runtime_error(what + "the token of HF_TOKEN or " + settings.token_file.string() +
                             " is not accepted, or the model does not exist: check both on " +
                             page);
  }
  if (status == 403) {
    throw std::runtime_error(what + "the token may not read this model: accept its terms on " +
                             page + ", and give the token the right to read gated models");
  }
  if (status == 404) {
    const std::string code = response.header("x-error-code");
    std::string hint = "no such model, revision or file: check the name and --revision on " + page;
    if (code == "RevisionNotFound")
      hint = "the model has no such revision: see " + page + "/tree/main for its names";
    if (code == "RepoNotFound") hint = "no such model: check the name on " + page;
    throw std::runtime_error(what + hint);
  }
  const std::string body =
      response.body.empty() ? "" : ", with the message " + printable(response.body, 200);
  throw std::runtime_error(what + "not expected" + body + ". Is " + settings.endpoint +
                           " a hub (HF_ENDPOINT)?");
}

void wait_before_retry(int tries, const std::function<void()>& check) {
  const auto end =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(250 << std::clamp(tries, 1, 7));
  while (std::chrono::steady_clock::now() < end) {
    if (check) check();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

std::uint64_t download_blob(HttpClient& http, const HubSettings& settings, const HubCache& cache,
                            const DownloadJob& job) {
  const fs::path blob_file = cache.blob(job.digest);
  bool said = false;
  const FileLock lock(cache.lock_file(job.digest), [&] {
    if (!said) job.on_message(job.file.name + ": another program downloads it; waiting");
    said = true;
    if (job.check) job.check();
  });
  std::error_code error;
  if (fs::is_regular_file(blob_file, error) && fs::file_size(blob_file, error) == *job.file.size &&
      !error)
    return 0;

  PartialBlob blob(blob_file.string() + ".incomplete", job.file);
  blob.read_present(job.check);
  job.on_bytes(blob.size());
  std::uint64_t downloaded = 0;
  for (bool again = false;; again = true) {
    fetch_all(http, settings, job, blob, downloaded);
    const std::string wrong = blob.wrong_digest();
    if (wrong.empty()) break;
    blob.restart();
    if (again) {
      throw std::runtime_error(job.file.name + ": its digest is " + wrong + ", expected " +
                               job.digest +
                               ", twice: the file is damaged on the server or on its way");
    }
    job.on_message(job.file.name + ": its digest is wrong; downloading it once more");
  }
  blob.rename_to(blob_file);
  return downloaded;
}

}  // namespace seer
