// HTTP as a client: a seam, so that the agent is tested without servers.
#pragma once

#include <memory>
#include <string>

#include "core/base/clock.h"
#include "core/base/secret.h"

namespace pgrm::http {

struct Reply {
  int status = 0;
  std::string body;
};

/// One peer. Keeps its connection open between requests. Not thread-safe. REQUIRES: SIGPIPE is ignored, as Signals
/// does: OpenSSL writes its goodbye also to a connection that is gone.
class Client {
 public:
  virtual ~Client() = default;
  /// Throws Error(unreachable, timeout) when no whole answer came; any status is an answer. `deadline` is for the whole
  /// request, however slowly its parts come; only looking up a name takes what the resolver takes, and each further
  /// address of a name that swallows packets as long again.
  virtual Reply get(const std::string& path, Duration deadline) = 0;
  virtual Reply post(const std::string& path, Duration deadline) = 0;
  /// "http://127.0.0.1:9717"
  virtual std::string describe() const = 0;
};

/// How a client shows who it is, and knows which server it speaks to. Empty: not at all, and by the system's own
/// authorities.
struct Access {
  std::string user{};
  Secret password{};
  std::string ca_file{};  // of the authorities that may have signed the server's certificate
  Secret bearer{};        // a token; with a user it is not sent, because one request cannot carry both
};

/// `url`: http://host:port or https://host:port, without a path. Throws Error(configuration) for a URL that is none.
std::unique_ptr<Client> make_client(const std::string& url, const Access& access = {});

/// get() that demands status 200. Throws Error(http_failed) otherwise.
std::string get_ok(Client& client, const std::string& path, Duration deadline);

}  // namespace pgrm::http
