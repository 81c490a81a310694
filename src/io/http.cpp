#include "io/http.h"

#include <curl/curl.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <exception>
#include <mutex>

#include "base/quote.h"

namespace seer {
namespace {

constexpr int kMaxRedirects = 8;
constexpr std::size_t kMaxErrorBytes = 64 << 10;
constexpr std::size_t kMaxHeaderBytes = 256 << 10;

using Headers = std::map<std::string, std::string, std::less<>>;

struct UrlParts {
  std::string scheme;
  std::string host;
  std::string port;

  bool operator==(const UrlParts&) const = default;
};

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

std::string part_of(CURLU* url, CURLUPart which, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url, which, &text, flags) != CURLUE_OK) return "";
  std::string part(text);
  curl_free(text);
  return part;
}

UrlParts parts_of(const std::string& text) {
  const std::unique_ptr<CURLU, void (*)(CURLU*)> url(curl_url(), curl_url_cleanup);
  if (curl_url_set(url.get(), CURLUPART_URL, text.c_str(), 0) != CURLUE_OK) {
    throw std::runtime_error(quote(text) + ": no URL of an endpoint");
  }
  return {part_of(url.get(), CURLUPART_SCHEME), lower(part_of(url.get(), CURLUPART_HOST)),
          part_of(url.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT)};
}

std::string value_in(const Headers& headers, std::string_view name) {
  const auto found = headers.find(name);
  return found == headers.end() ? "" : found->second;
}

// One answer as it comes in.
struct Exchange {
  CURL* curl = nullptr;
  HttpResponse response;
  const HttpClient::Sink* sink = nullptr;
  const std::function<void()>* check = nullptr;
  std::size_t max_body = kMaxErrorBytes;
  bool cut_body = true;  // else too long a body is an error
  std::size_t header_bytes = 0;
  std::exception_ptr failure;
};

std::size_t on_header(char* data, std::size_t, std::size_t size, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  const std::string_view line(data, size);
  exchange.header_bytes += size;
  if (exchange.header_bytes > kMaxHeaderBytes) return 0;
  if (line.starts_with("HTTP/")) {  // also of a "100 Continue" before
    exchange.response.headers.clear();
    return size;
  }
  const std::size_t colon = line.find(':');
  if (colon == line.npos) return size;
  const std::string_view value = line.substr(colon + 1);
  const std::size_t begin = value.find_first_not_of(" \t\r\n");
  const std::size_t end = value.find_last_not_of(" \t\r\n");
  exchange.response.headers[lower(std::string(line.substr(0, colon)))] =
      begin == value.npos ? "" : value.substr(begin, end + 1 - begin);
  return size;
}

std::size_t on_bytes(char* data, std::size_t, std::size_t size, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  try {
    long status = 0;
    curl_easy_getinfo(exchange.curl, CURLINFO_RESPONSE_CODE, &status);
    exchange.response.status = status;
    if (exchange.sink != nullptr && status >= 200 && status < 300) {
      (*exchange.sink)(exchange.response, std::string_view(data, size));
      return size;
    }
    std::string& body = exchange.response.body;
    const std::size_t room = exchange.max_body - std::min(exchange.max_body, body.size());
    if (size > room && !exchange.cut_body) {
      throw std::runtime_error("the answer is longer than " + std::to_string(exchange.max_body) +
                               " bytes");
    }
    body.append(data, std::min(size, room));
    return size;
  } catch (...) {
    exchange.failure = std::current_exception();
    return 0;
  }
}

int on_tick(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  auto& exchange = *static_cast<Exchange*>(user);
  try {
    if (*exchange.check) (*exchange.check)();
    return 0;
  } catch (...) {
    exchange.failure = std::current_exception();
    return 1;
  }
}

bool hopeless(CURLcode code) {
  switch (code) {
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_WRITE_ERROR:
    case CURLE_OUT_OF_MEMORY: return true;
    default: return false;
  }
}

const char* certificates_file() {
  for (const char* name : {"CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"}) {
    const char* file = std::getenv(name);
    if (file != nullptr && *file != '\0') return file;
  }
  return nullptr;
}

}  // namespace

struct HttpClient::Impl {
  CURL* curl = nullptr;
  UrlParts endpoint;
  std::string token;
  std::function<void()> check;

  // One request and its answer, without redirects.
  HttpResponse once(const std::string& url, bool head, std::uint64_t range_start,
                    Exchange exchange) {
    curl_easy_reset(curl);
    const auto set = [this](CURLoption option, auto value) {
      curl_easy_setopt(curl, option, value);
    };
    set(CURLOPT_URL, url.c_str());
    set(CURLOPT_USERAGENT, "seer/" SEER_VERSION);
    set(CURLOPT_PROTOCOLS_STR, endpoint.scheme == "https" ? "https" : "http,https");
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_CONNECTTIMEOUT, 30L);
    set(CURLOPT_LOW_SPEED_LIMIT, 1L);  // a connection that stands still for a minute is given up
    set(CURLOPT_LOW_SPEED_TIME, 60L);
    set(CURLOPT_NOBODY, head ? 1L : 0L);
    if (const char* file = certificates_file()) set(CURLOPT_CAINFO, file);
    // Not CURLOPT_RESUME_FROM, which hides from the caller how the server answered.
    const std::string range = std::to_string(range_start) + "-";
    if (range_start > 0) set(CURLOPT_RANGE, range.c_str());
    char message[CURL_ERROR_SIZE] = "";
    set(CURLOPT_ERRORBUFFER, message);
    exchange.curl = curl;
    exchange.check = &check;
    set(CURLOPT_HEADERFUNCTION, on_header);
    set(CURLOPT_HEADERDATA, &exchange);
    set(CURLOPT_WRITEFUNCTION, on_bytes);
    set(CURLOPT_WRITEDATA, &exchange);
    set(CURLOPT_XFERINFOFUNCTION, on_tick);
    set(CURLOPT_XFERINFODATA, &exchange);
    set(CURLOPT_NOPROGRESS, 0L);
    std::unique_ptr<curl_slist, void (*)(curl_slist*)> headers(nullptr, curl_slist_free_all);
    if (!token.empty() && parts_of(url) == endpoint) {
      headers.reset(curl_slist_append(nullptr, ("Authorization: Bearer " + token).c_str()));
      set(CURLOPT_HTTPHEADER, headers.get());
    }
    const CURLcode code = curl_easy_perform(curl);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, nullptr);
    if (exchange.failure) std::rethrow_exception(exchange.failure);
    if (code != CURLE_OK) {
      const std::string what =
          url + ": " + (message[0] != '\0' ? message : curl_easy_strerror(code));
      if (hopeless(code)) throw std::runtime_error(what);
      throw TransportError(what);
    }
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    exchange.response.status = status;
    return std::move(exchange.response);
  }

  HttpResponse follow(std::string url, bool head, std::uint64_t range_start,
                      const Exchange& exchange) {
    Headers endpoint_headers;
    for (int redirects = 0; redirects <= kMaxRedirects; ++redirects) {
      HttpResponse response = once(url, head, range_start, exchange);
      if (parts_of(url) == endpoint)
        endpoint_headers.insert(response.headers.begin(), response.headers.end());
      char* next = nullptr;
      curl_easy_getinfo(curl, CURLINFO_REDIRECT_URL, &next);
      if (response.status < 300 || response.status >= 400 || next == nullptr) {
        response.endpoint_headers = std::move(endpoint_headers);
        return response;
      }
      const std::string target = next;
      const std::string scheme = parts_of(target).scheme;
      if (scheme != "https" && (scheme != "http" || parts_of(url).scheme == "https")) {
        throw std::runtime_error(url + " redirects to " + quote(target) +
                                 ": refused, since it is not encrypted");
      }
      url = target;
    }
    throw std::runtime_error(url + ": more than " + std::to_string(kMaxRedirects) + " redirects");
  }
};

std::string HttpResponse::header(std::string_view name) const {
  return value_in(headers, name);
}

std::string HttpResponse::endpoint_header(std::string_view name) const {
  return value_in(endpoint_headers, name);
}

HttpClient::HttpClient(const std::string& endpoint, std::string token, std::function<void()> check)
    : impl_(std::make_unique<Impl>()) {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  impl_->endpoint = parts_of(endpoint);
  impl_->token = std::move(token);
  impl_->check = std::move(check);
  impl_->curl = curl_easy_init();
  if (impl_->curl == nullptr) throw std::runtime_error("libcurl cannot start");
}

HttpClient::~HttpClient() {
  curl_easy_cleanup(impl_->curl);
}

HttpResponse HttpClient::get(const std::string& url, std::uint64_t range_start, const Sink& sink) {
  Exchange exchange;
  exchange.sink = &sink;
  return impl_->follow(url, false, range_start, exchange);
}

HttpResponse HttpClient::head(const std::string& url) {
  return impl_->follow(url, true, 0, Exchange{});
}

HttpResponse HttpClient::get_text(const std::string& url, std::size_t max_bytes) {
  Exchange exchange;
  exchange.max_body = max_bytes;
  exchange.cut_body = false;
  return impl_->follow(url, false, 0, exchange);
}

std::string HttpClient::encoded(std::string_view part) {
  char* text = curl_easy_escape(nullptr, part.data(), static_cast<int>(part.size()));
  if (text == nullptr) throw std::runtime_error(quote(part) + " cannot be part of a URL");
  std::string out(text);
  curl_free(text);
  return out;
}

void check_endpoint(const std::string& url) {
  const UrlParts parts = parts_of(url);
  const bool plain = url.find_first_of("?#@ \t\r\n") == std::string::npos;
  if ((parts.scheme != "https" && parts.scheme != "http") || parts.host.empty() || !plain) {
    throw std::runtime_error("the endpoint " + quote(url) +
                             ": expected https://HOST[:PORT][/PATH]");
  }
}

bool is_encrypted(const std::string& url) {
  return parts_of(url).scheme == "https";
}

bool is_loopback(const std::string& url) {
  const std::string host = parts_of(url).host;
  return host == "localhost" || host == "[::1]" ||
         (host.starts_with("127.") && host.find_first_not_of("0123456789.") == std::string::npos);
}

}  // namespace seer
