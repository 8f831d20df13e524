// A small HTTP/1.1 server over cpp-httplib.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

namespace pgrm::http {

struct Request {
  std::string method;
  std::string path;
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

/// Serves on threads of its own between start() and destruction; handlers run concurrently and must be thread-safe.
/// Bodies over 64 KiB, slow clients and unknown paths get a 4xx with a JSON error and hold up nobody else.
class Server {
 public:
  using Handler = std::function<Response(const Request&)>;

  /// `listen`: "host:port"; port 0 takes any free one. Throws Error(configuration) for anything else.
  explicit Server(const std::string& listen);
  ~Server();

  /// Exact path. REQUIRES: before start().
  void get(const std::string& path, Handler handler);
  void post(const std::string& path, Handler handler);

  /// Binds and begins to serve. Throws Error(configuration) when the address is taken or not ours.
  void start();
  /// The bound port. REQUIRES: started.
  int port() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pgrm::http
