// A small HTTP/1.1 server, plain or TLS, that a client can neither stop nor slow down. Our own, because with the
// libraries a few clients that send a byte a second keep everybody else out. Tried with four threads and four such
// clients; here a new connection ends the one that has been idle or busy for longest.
//   cpp-httplib 0.11.4 (Debian 12) and 0.53.1: a time-out for each read and none for a request. Nobody else was
//     answered as long as they went on. 0.11.4 also bounds no number of headers (0.22.0 does) and cannot change its
//     certificate (0.16.0 can).
//   CivetWeb 1.15 (Debian 12): request_timeout_ms bounds a request, and until it was over nobody else was answered.
//     It knows no passwords in bcrypt, which web_config.h has from Prometheus' format.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "core/base/clock.h"

namespace pgrm::http {

class WebConfig;

struct Request {
  std::string method;
  std::string path;
  std::string query;  // what stands behind the question mark; parameter() of message.h reads it
  std::string host;   // as the client calls this server; empty: it did not say
  std::string body;
  std::optional<std::string> authorization;
  bool from_loopback = false;
};

struct Response {
  int status = 200;
  std::string body;
  std::string content_type = "application/json";
};

/// {"error": text} with a status of 4xx or 5xx.
Response error_response(int status, const std::string& text);

struct Limits {
  std::size_t head = 16UL * 1024;  // bytes of request line and headers
  std::size_t body = 64UL * 1024;
  std::size_t connections = 64;                    // one more ends the one idle, or else busy, for longest
  Duration request = std::chrono::seconds(10);     // from its first byte to the last of the answer
  Duration handshake = std::chrono::seconds(5);    // TLS
  Duration keep_alive = std::chrono::seconds(60);  // between two requests
};

/// Serves on threads of its own between start() and destruction, one for every connection; handlers run concurrently
/// and must be thread-safe. What breaks a limit, and every method and path that is not served, gets a 4xx with a JSON
/// error. Bodies are gzipped if the client accepts it. A POST that a browser sends for another site's page is refused.
class Server {
 public:
  using Handler = std::function<Response(const Request&)>;

  /// `listen`: "host:port"; port 0 takes any free one. Throws Error(configuration) for anything else.
  explicit Server(const std::string& listen, const Limits& limits = {});
  ~Server();

  /// Exact path. A path that is got can be asked for with HEAD too. REQUIRES: before start().
  void get(const std::string& path, Handler handler);
  void post(const std::string& path, Handler handler);

  /// For connections and requests from now on. Never nullptr. Thread-safe, also before start().
  void configure(std::shared_ptr<const WebConfig> config);

  /// Binds and begins to serve. Throws Error(configuration) when the address is taken or not ours.
  void start();
  /// The bound port. REQUIRES: started.
  int port() const;

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace pgrm::http
