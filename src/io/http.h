// HTTP requests to a hub.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

namespace seer {

// A connection that failed or broke: another try may help.
struct TransportError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct HttpResponse {
  std::int64_t status = 0;
  std::map<std::string, std::string, std::less<>>
      headers;  // of the last answer; names in lower case
  std::map<std::string, std::string, std::less<>>
      endpoint_headers;  // of the endpoint's own answers
  std::string body;      // what no sink took, up to a limit

  std::string header(std::string_view name) const;           // empty where there is none
  std::string endpoint_header(std::string_view name) const;  // the same
};

class HttpClient {
 public:
  // Takes the bytes of a successful answer (2xx), of which status and headers are known.
  using Sink = std::function<void(const HttpResponse&, std::string_view)>;

  // The token goes to the endpoint's scheme, host and port alone. `check` is called often and may throw.
  HttpClient(const std::string& endpoint, std::string token, std::function<void()> check);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // Follows redirects. Throws TransportError, and std::runtime_error for what no other try can mend.
  HttpResponse get(const std::string& url, std::uint64_t range_start, const Sink& sink);
  HttpResponse head(const std::string& url);
  // With the body in the response; throws when it is longer.
  HttpResponse get_text(const std::string& url, std::size_t max_bytes);

  static std::string encoded(std::string_view part);  // for one component of a path

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Throws std::runtime_error where this is no URL of a hub: http or https, a host, no user and no query.
void check_endpoint(const std::string& url);
bool is_encrypted(const std::string& url);
bool is_loopback(const std::string& url);

}  // namespace seer
