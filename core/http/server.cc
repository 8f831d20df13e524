#include "core/http/server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <csignal>
#include <list>
#include <mutex>
#include <nlohmann/json.hpp>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/base/json_text.h"
#include "core/base/wait.h"
#include "core/http/message.h"
#include "core/http/stream.h"
#include "core/http/web_config.h"

namespace pgrm::http {
namespace {

constexpr std::size_t worth_gzipping = 1024;
constexpr std::string_view head_end = "\r\n\r\n";

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

/// -1: taken, or not ours. Without SO_REUSEPORT: two programs that share a port would answer in turns.
int listening_socket(const Address& address) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  if (getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found) != 0) return -1;
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> list(found, &freeaddrinfo);
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    // Non-blocking: a connection that is gone before it is accepted must not hold up the end.
    const int socket = ::socket(one->ai_family, one->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, one->ai_protocol);
    if (socket < 0) continue;
    const int yes = 1;
    setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(socket, one->ai_addr, one->ai_addrlen) == 0 && listen(socket, 128) == 0) return socket;
    close(socket);
  }
  return -1;
}

int port_of(int socket) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size);
  const in_port_t port = address.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6&>(address).sin6_port
                                                       : reinterpret_cast<const sockaddr_in&>(address).sin_port;
  return ntohs(port);
}

bool is_loopback(const sockaddr_storage& peer) {
  if (peer.ss_family == AF_INET) {
    return ntohl(reinterpret_cast<const sockaddr_in&>(peer).sin_addr.s_addr) >> 24 == 127;
  }
  const in6_addr& address = reinterpret_cast<const sockaddr_in6&>(peer).sin6_addr;
  return IN6_IS_ADDR_LOOPBACK(&address) || (IN6_IS_ADDR_V4MAPPED(&address) && address.s6_addr[12] == 127);
}

/// Browsers name the page that a POST comes from: only pages of this very server may.
bool comes_from_elsewhere(const Head& head) {
  const auto origin = head.header("origin");
  if (!origin) return false;
  const auto scheme = origin->find("://");
  return scheme == std::string::npos || origin->substr(scheme + 3) != head.header("host");
}

/// A browser here may have been led here by a page whose name was made to mean 127.0.0.1, and a proxy speaks for
/// others.
bool speaks_for_itself(const Head& head) {
  constexpr std::array<std::string_view, 4> signs{"origin", "forwarded", "x-forwarded-for", "via"};
  return std::ranges::none_of(signs, [&head](std::string_view name) { return head.header(name).has_value(); });
}

/// A page whose name was made to mean 127.0.0.1 has a browser on this machine ask here (DNS rebinding), with its own
/// name as Host. Such a name has a dot; an address, "localhost" and the short name of a machine are asked for
/// knowingly.
bool asks_for_another(const Head& head) {
  const std::string named = head.header("host").value_or("");
  std::string_view host = named;
  if (host.starts_with('[')) return false;
  host = host.substr(0, host.find(':'));
  if (host.ends_with('.')) host.remove_suffix(1);
  if (host == "localhost.localdomain") return false;
  const bool address = host.find_first_not_of("0123456789.") == std::string_view::npos;
  return !address && host.find('.') != std::string_view::npos && !host.ends_with(".localhost");
}

struct Route {
  std::string method, path;
  Server::Handler handler;
};

}  // namespace

Response error_response(int status, const std::string& text) {
  return {status, json_text(nlohmann::json{{"error", text}}) + "\n", "application/json"};
}

class Server::State {
 public:
  State(const std::string& listen, const Limits& limits) : limits_(limits), address_(parse_listen(listen)) {}

  ~State() {
    if (acceptor_.joinable()) {
      acceptor_.request_stop();
      eventfd_write(wake_, 1);
      acceptor_.join();
    }
    stopping_ = true;
    shut_idle();
    // An answer that is on its way arrives: it may be the last that is ever told.
    wait_until(system_clock(), std::chrono::seconds(1), std::chrono::milliseconds(1), {},
               [this] { return !answers_any(); });
    std::list<Connection> last;
    {
      const std::lock_guard lock(mutex_);
      for (const Connection& connection : connections_) connection.stream->shut();
      last.swap(connections_);
    }
    last.clear();  // joins their threads
    if (socket_ >= 0) close(socket_);
    if (wake_ >= 0) close(wake_);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  void add(Route route) { routes_.push_back(std::move(route)); }

  void configure(std::shared_ptr<const WebConfig> config) {
    const std::lock_guard lock(mutex_);
    config_ = std::move(config);
  }

  void start() {
    socket_ = listening_socket(address_);
    if (socket_ < 0) {
      throw Error(ErrorCode::configuration,
                  fmt::format("cannot listen on {}:{}: the port is taken or the address is not this machine's",
                              address_.host, address_.port),
                  "choose another address with --listen");
    }
    wake_ = eventfd(0, EFD_CLOEXEC);
    acceptor_ = std::jthread([this](const std::stop_token& stop) { accept_until(stop); });
  }

  int port() const { return port_of(socket_); }

 private:
  struct Connection {
    std::shared_ptr<Stream> stream;
    bool idle = false;   // between two requests
    bool ended = false;  // shut by us, or done
    bool done = false;
    bool answered = false;  // nothing more will be written
    Mono since{};
    std::jthread thread;  // last: it uses all of the above
  };

  std::shared_ptr<const WebConfig> config() const {
    const std::lock_guard lock(mutex_);
    return config_;
  }

  void accept_until(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      std::array<pollfd, 2> ready{{{socket_, POLLIN, 0}, {wake_, POLLIN, 0}}};
      poll(ready.data(), ready.size(), -1);
      if (stop.stop_requested()) return;
      sockaddr_storage peer{};
      socklen_t size = sizeof peer;
      const int socket = accept4(socket_, reinterpret_cast<sockaddr*>(&peer), &size, SOCK_CLOEXEC);
      if (socket >= 0) {
        admit(std::make_shared<Stream>(socket), is_loopback(peer));
      } else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
        // Out of descriptors or memory: the dead hold some, and so do the idle.
        if (bury_the_dead()) continue;
        {
          const std::lock_guard lock(mutex_);
          end_one();
        }
        poll(&ready[1], 1, 100);
      }
    }
  }

  void admit(std::shared_ptr<Stream> stream, bool loopback) {
    bury_the_dead();
    const std::lock_guard lock(mutex_);
    const auto present = static_cast<std::size_t>(
        std::ranges::count_if(connections_, [](const Connection& connection) { return !connection.ended; }));
    if (connections_.size() >= 2 * limits_.connections) return;  // closes the new one
    if (present >= limits_.connections && !end_one()) return;
    Connection& mine = connections_.emplace_back();
    mine.stream = std::move(stream);
    mine.since = std::chrono::steady_clock::now();
    try {
      mine.thread = std::jthread([this, &mine, loopback] {
        serve(mine, loopback);
        mine.stream->shut();  // it is closed when the next connection comes; its client is not to wait for that
        const std::lock_guard ending(mutex_);
        mine.ended = mine.done = true;
      });
    } catch (const std::system_error&) {
      connections_.pop_back();  // the machine has no thread to spare: closes it
    }
  }

  /// The one that has been idle for longest; where none is, the one that has been busy for longest: a client that
  /// dribbles a request or stalls a handshake keeps nobody out. REQUIRES: the lock is held.
  bool end_one() {
    const auto rank = [](const Connection& connection) { return std::pair(!connection.idle, connection.since); };
    auto first = connections_.end();
    for (auto one = connections_.begin(); one != connections_.end(); ++one) {
      if (one->ended) continue;
      if (first == connections_.end() || rank(*one) < rank(*first)) first = one;
    }
    if (first == connections_.end()) return false;
    first->stream->shut();
    first->ended = true;
    return true;
  }

  /// Whether there were any.
  bool bury_the_dead() {
    std::list<Connection> dead;
    const std::lock_guard lock(mutex_);
    for (auto one = connections_.begin(); one != connections_.end();) {
      const auto next = std::next(one);
      if (one->done) dead.splice(dead.end(), connections_, one);
      one = next;
    }
    return !dead.empty();
  }

  void set_idle(Connection& connection, bool idle) {
    const std::lock_guard lock(mutex_);
    connection.idle = idle;
    connection.since = std::chrono::steady_clock::now();
  }

  /// All that it was asked for is on its way: nobody waits for what is left.
  void set_answered(Connection& connection) {
    const std::lock_guard lock(mutex_);
    connection.answered = true;
  }

  void shut_idle() {
    const std::lock_guard lock(mutex_);
    for (const Connection& connection : connections_) {
      if (connection.idle) connection.stream->shut();
    }
  }

  bool answers_any() {
    const std::lock_guard lock(mutex_);
    return std::ranges::any_of(connections_, [](const Connection& connection) {
      return !connection.idle && !connection.answered && !connection.ended;
    });
  }

  static Mono in(Duration duration) { return std::chrono::steady_clock::now() + duration; }

  void serve(Connection& connection, bool loopback) {
    // OpenSSL writes to a socket that the client may have closed: an error, and not the end of the program.
    sigset_t broken_pipe;
    sigemptyset(&broken_pipe);
    sigaddset(&broken_pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &broken_pipe, nullptr);
    Stream& stream = *connection.stream;
    if (const auto config = this->config(); config->tls() != nullptr) {
      if (!stream.accept_tls(config->tls(), in(limits_.handshake))) return;
    }
    std::string buffer;
    while (!stopping_ && serve_one(connection, loopback, buffer)) continue;
    set_answered(connection);
    stream.close_politely(in(std::chrono::seconds(1)));
  }

  /// One request and its answer; `buffer` holds what was read ahead. False when the connection has come to its end.
  bool serve_one(Connection& connection, bool loopback, std::string& buffer) {
    Stream& stream = *connection.stream;
    std::array<char, 4096> chunk{};
    if (buffer.empty()) {
      set_idle(connection, true);
      const std::size_t got = stream.read(chunk.data(), chunk.size(), in(limits_.keep_alive));
      set_idle(connection, false);
      if (got == 0) return false;
      buffer.append(chunk.data(), got);
    }
    const Mono deadline = in(limits_.request);
    const auto read_more = [&] {
      const std::size_t got = stream.read(chunk.data(), chunk.size(), deadline);
      if (got > 0) buffer.append(chunk.data(), got);
      return got > 0;
    };
    try {
      std::size_t head_size = std::string::npos;
      while ((head_size = buffer.find(head_end)) == std::string::npos && buffer.size() <= limits_.head) {
        if (!read_more()) throw Refusal{408, "the request did not come in time"};
      }
      if (head_size > limits_.head) throw Refusal{431, fmt::format("headers larger than {} bytes", limits_.head)};
      const Head head = parse_head(std::string_view(buffer).substr(0, head_size));
      buffer.erase(0, head_size + head_end.size());
      if (loopback && asks_for_another(head)) {
        throw Refusal{421, "from this machine, ask for localhost or for an address: a proxy sets Host"};
      }

      Request request{.method = head.method,
                      .path = head.path,
                      .query = head.query,
                      .host = head.header("host").value_or(""),
                      .body = {},
                      .authorization = head.header("authorization"),
                      .from_loopback = loopback && speaks_for_itself(head)};
      const std::size_t body = body_length(head, limits_.body);
      if (body > buffer.size() && head.header("expect") == "100-continue") {
        stream.write("HTTP/1.1 100 Continue\r\n\r\n", deadline);
      }
      while (buffer.size() < body) {
        if (!read_more()) throw Refusal{408, "the body did not come in time"};
      }
      request.body = buffer.substr(0, body);
      buffer.erase(0, body);

      Headers more;
      Response response = answer(head, request, more);
      if (accepts_gzip(head) && response.body.size() >= worth_gzipping) {
        response.body = gzip(response.body);
        more.emplace_back("Content-Encoding", "gzip");
      }
      more.emplace_back("Vary", "Accept-Encoding");
      return stream.write(to_text(response, more, head.keep_alive, head.method != "HEAD"), deadline) && head.keep_alive;
    } catch (const Refusal& refusal) {
      // What follows cannot be told from the rest of this one.
      stream.write(to_text(error_response(refusal.status, refusal.text), {}, false, true), in(std::chrono::seconds(1)));
    } catch (const std::exception& surprise) {
      stream.write(to_text(error_response(500, surprise.what()), {}, false, true), in(std::chrono::seconds(1)));
    }
    return false;
  }

  Response answer(const Head& head, const Request& request, Headers& more) const {
    switch (config()->allows(request.authorization)) {
      case WebConfig::Answer::yes:
        break;
      case WebConfig::Answer::no:
        more.emplace_back("WWW-Authenticate", "Basic realm=\"replica-migration\", charset=\"UTF-8\"");
        return error_response(401, "user and password are required");
      case WebConfig::Answer::busy:
        return error_response(429, "too many passwords are being tried");
    }
    std::string allowed;
    for (const Route& route : routes_) {
      if (route.path != request.path) continue;
      if (route.method == request.method || (route.method == "GET" && request.method == "HEAD")) {
        if (request.method == "POST" && comes_from_elsewhere(head)) {
          return error_response(403, "a page of another site may not do that");
        }
        return run(route.handler, request, more);
      }
      allowed += (allowed.empty() ? "" : ", ") + route.method + (route.method == "GET" ? ", HEAD" : "");
    }
    if (allowed.empty()) return error_response(404, "no such path");
    more.emplace_back("Allow", allowed);
    return error_response(405, "method not allowed");
  }

  static Response run(const Handler& handler, const Request& request, Headers& more) {
    try {
      Response response = handler(request);
      if (response.content_type.starts_with("text/html")) {
        // A page loads nothing from elsewhere, whatever got into it.
        more.emplace_back("Content-Security-Policy",
                          "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
                          "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
                          "frame-ancestors 'none'");
      }
      return response;
    } catch (const std::exception& error) {
      return error_response(500, error.what());
    }
  }

  const Limits limits_;
  const Address address_;
  std::vector<Route> routes_;
  int socket_ = -1;
  int wake_ = -1;
  mutable std::mutex mutex_;
  std::shared_ptr<const WebConfig> config_ = std::make_shared<const WebConfig>();
  std::atomic<bool> stopping_ = false;
  std::list<Connection> connections_;
  std::jthread acceptor_;
};

Server::Server(const std::string& listen, const Limits& limits) : state_(std::make_unique<State>(listen, limits)) {}
Server::~Server() = default;

void Server::get(const std::string& path, Handler handler) { state_->add({"GET", path, std::move(handler)}); }
void Server::post(const std::string& path, Handler handler) { state_->add({"POST", path, std::move(handler)}); }
void Server::configure(std::shared_ptr<const WebConfig> config) { state_->configure(std::move(config)); }
void Server::start() { state_->start(); }
int Server::port() const { return state_->port(); }

}  // namespace pgrm::http
