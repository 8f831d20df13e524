// One accepted connection, plain or TLS, where every wait has an end.
#pragma once

#include <memory>
#include <string_view>

#include "core/base/clock.h"

using SSL = struct ssl_st;
using SSL_CTX = struct ssl_ctx_st;

namespace pgrm::http {

/// Owns the socket. Not thread-safe, except for shut().
class Stream {
 public:
  explicit Stream(int socket);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  /// Becomes a TLS connection. False when the client does not, or not in time.
  bool accept_tls(SSL_CTX* context, Mono deadline);
  /// Bytes that were read, at least one; 0 when the client has closed, or nothing came in time.
  std::size_t read(char* buffer, std::size_t size, Mono deadline);
  /// False when the client has closed, or did not take all of it in time.
  bool write(std::string_view text, Mono deadline);
  /// Ends every wait on this connection. From any thread.
  void shut() const;
  /// Says goodbye and gives the client a moment to read what was written, which an abrupt end could take from it.
  void close_politely(Mono deadline);

 private:
  /// True when the call is worth being repeated.
  bool wait_for_tls(int result, Mono deadline) const;
  bool wait(short events, Mono deadline) const;

  struct FreeTls {
    void operator()(SSL* tls) const;
  };
  int socket_;
  std::unique_ptr<SSL, FreeTls> tls_;
};

}  // namespace pgrm::http
