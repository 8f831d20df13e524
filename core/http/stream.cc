#include "core/http/stream.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>

namespace pgrm::http {

void Stream::FreeTls::operator()(SSL* tls) const { SSL_free(tls); }

Stream::Stream(int socket) : socket_(socket) {
  const int yes = 1;
  setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  fcntl(socket_, F_SETFL, fcntl(socket_, F_GETFL) | O_NONBLOCK);
}

Stream::~Stream() { close(socket_); }

bool Stream::wait(short events, Mono deadline) const {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
  if (left <= 0) return false;
  pollfd ready{socket_, events, 0};
  const auto millis = std::min<std::int64_t>(left, std::numeric_limits<int>::max());
  return poll(&ready, 1, static_cast<int>(millis)) > 0;
}

bool Stream::wait_for_tls(int result, Mono deadline) const {
  switch (SSL_get_error(tls_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      return wait(POLLIN, deadline);
    case SSL_ERROR_WANT_WRITE:
      return wait(POLLOUT, deadline);
    default:
      return false;
  }
}

bool Stream::accept_tls(SSL_CTX* context, Mono deadline) {
  tls_.reset(SSL_new(context));
  if (!tls_ || SSL_set_fd(tls_.get(), socket_) != 1) return false;
  for (;;) {
    ERR_clear_error();  // the queue is the thread's, and SSL_get_error() looks at it
    const int result = SSL_accept(tls_.get());
    if (result == 1) return true;
    if (!wait_for_tls(result, deadline)) return false;
  }
}

std::size_t Stream::read(char* buffer, std::size_t size, Mono deadline) {
  for (;;) {
    if (tls_) {
      ERR_clear_error();
      const int result = SSL_read(tls_.get(), buffer, static_cast<int>(size));
      if (result > 0) return static_cast<std::size_t>(result);
      if (!wait_for_tls(result, deadline)) return 0;
    } else {
      const ssize_t result = recv(socket_, buffer, size, 0);
      if (result > 0) return static_cast<std::size_t>(result);
      if (result == 0 || (errno != EAGAIN && errno != EINTR) || !wait(POLLIN, deadline)) return 0;
    }
  }
}

bool Stream::write(std::string_view text, Mono deadline) {
  while (!text.empty()) {
    if (tls_) {
      ERR_clear_error();
      const int result = SSL_write(tls_.get(), text.data(), static_cast<int>(text.size()));
      if (result > 0) {
        text.remove_prefix(static_cast<std::size_t>(result));
      } else if (!wait_for_tls(result, deadline)) {
        return false;
      }
    } else {
      const ssize_t result = send(socket_, text.data(), text.size(), MSG_NOSIGNAL);
      if (result > 0) {
        text.remove_prefix(static_cast<std::size_t>(result));
      } else if ((errno != EAGAIN && errno != EINTR) || !wait(POLLOUT, deadline)) {
        return false;
      }
    }
  }
  return true;
}

void Stream::shut() const { shutdown(socket_, SHUT_RDWR); }

void Stream::close_politely(Mono deadline) {
  if (tls_) {
    ERR_clear_error();
    SSL_shutdown(tls_.get());
  }
  shutdown(socket_, SHUT_WR);
  std::array<char, 4096> rest{};
  std::size_t budget = 256UL * 1024;
  for (ssize_t got = 1; got != 0 && budget > 0 && wait(POLLIN, deadline);) {
    got = recv(socket_, rest.data(), rest.size(), 0);
    if (got < 0) return;
    budget -= std::min(budget, static_cast<std::size_t>(got));
  }
}

}  // namespace pgrm::http
