#include "core/http/server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <httplib.h>

#include <array>
#include <charconv>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "core/base/error.h"

namespace pgrm::http {
namespace {

constexpr std::size_t max_body = 64UL * 1024;
constexpr std::size_t threads = 8;

struct Address {
  std::string host;
  int port;
};

Address parse_listen(const std::string& listen) {
  const std::size_t colon = listen.rfind(':');
  Address address{listen.substr(0, colon), -1};
  if (colon != std::string::npos) {
    const char* const end = listen.data() + listen.size();
    const auto [stop, error] = std::from_chars(listen.data() + colon + 1, end, address.port);
    if (error != std::errc{} || stop != end) address.port = -1;
  }
  if (address.host.size() > 2 && address.host.front() == '[' && address.host.back() == ']') {
    address.host = address.host.substr(1, address.host.size() - 2);
  }
  if (address.host.empty()) address.host = "0.0.0.0";
  if (address.port < 0 || address.port > 65535) {
    throw Error(ErrorCode::configuration, fmt::format("listen address is \"{}\", allowed is host:port", listen));
  }
  return address;
}

bool is_loopback(const std::string& address) {
  return address == "::1" || address.starts_with("127.") || address.starts_with("::ffff:127.");
}

Request from_httplib(const httplib::Request& raw) {
  Request request{raw.method, raw.path, raw.body, std::nullopt, is_loopback(raw.remote_addr)};
  if (raw.has_header("Authorization")) request.authorization = raw.get_header_value("Authorization");
  return request;
}

std::string_view reason_of(int status) {
  switch (status) {
    case 400:
      return "bad request";
    case 404:
      return "no such path";
    case 405:
      return "method not allowed";
    case 413:
      return "body too large";
    case 414:
      return "URI too long";
    default:
      return status >= 500 ? "internal error" : "refused";
  }
}

}  // namespace

Response error_response(int status, const std::string& text) {
  return {status, nlohmann::json{{"error", text}}.dump() + "\n", "application/json"};
}

struct Server::State {
  Address address;
  httplib::Server server;
  int port = 0;
  std::jthread thread;
};

Server::Server(const std::string& listen) : state_(std::make_unique<State>()) {
  state_->address = parse_listen(listen);
  httplib::Server& server = state_->server;
  server.new_task_queue = [] { return new httplib::ThreadPool(threads); };
  server.set_payload_max_length(max_body);
  server.set_read_timeout(std::chrono::seconds(5));
  server.set_write_timeout(std::chrono::seconds(5));
  server.set_keep_alive_timeout(2);  // an idle connection holds a thread, and the destructor waits for it
  server.set_tcp_nodelay(true);
  // httplib's own choice, SO_REUSEPORT, lets two programs share a port: half of the answers would be the other's.
  server.set_socket_options([](socket_t socket) {
    const int yes = 1;
    setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  });
  // Only what was decided by nobody: a handler's own answer has a body already.
  server.set_error_handler([](const httplib::Request&, httplib::Response& response) {
    if (!response.body.empty()) return;
    const Response body = error_response(response.status, std::string(reason_of(response.status)));
    response.set_content(body.body, body.content_type.c_str());
  });
}

Server::~Server() { state_->server.stop(); }

namespace {

void answer(const Server::Handler& handler, const Request& request, httplib::Response& out) {
  Response response;
  try {
    response = handler(request);
  } catch (const Error& error) {
    response = error_response(500, error.what());
  }
  out.status = response.status;
  out.set_content(response.body, response.content_type.c_str());
}

}  // namespace

void Server::get(const std::string& path, Handler handler) {
  state_->server.Get(path.c_str(), [handler = std::move(handler)](const httplib::Request& raw, httplib::Response& out) {
    answer(handler, from_httplib(raw), out);
  });
}
void Server::post(const std::string& path, Handler handler) {
  state_->server.Post(path.c_str(), [handler = std::move(handler)](const httplib::Request& raw, httplib::Response& out,
                                                                   const httplib::ContentReader& read_body) {
    Request request = from_httplib(raw);
    // Without a length there is no body (curl -X POST); httplib would wait for one until its timeout.
    if (raw.has_header("Content-Length") || raw.has_header("Transfer-Encoding")) {
      const auto append = [&request](const char* data, std::size_t size) {
        request.body.append(data, size);
        return true;
      };
      if (!read_body(append)) return;  // httplib has set the status
    }
    answer(handler, request, out);
  });
}

void Server::start() {
  const auto& [host, port] = state_->address;
  if (port == 0) {
    state_->port = state_->server.bind_to_any_port(host.c_str());
  } else {
    state_->port = state_->server.bind_to_port(host.c_str(), port) ? port : -1;
  }
  if (state_->port < 0) {
    throw Error(ErrorCode::configuration,
                fmt::format("cannot listen on {}:{}: the port is taken or the address is not "
                            "this machine's",
                            host, port),
                "choose another address with --listen");
  }
  state_->thread = std::jthread([this] { state_->server.listen_after_bind(); });
  while (!state_->server.is_running()) std::this_thread::yield();
}

int Server::port() const { return state_->port; }

}  // namespace pgrm::http
