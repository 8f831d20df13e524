// Who may connect, and how: TLS and basic authentication, in the format of Prometheus' exporter-toolkit
// (https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md).
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

using SSL_CTX = struct ssl_ctx_st;

namespace pgrm::http {

class WebConfig {
 public:
  /// Plain HTTP for everybody.
  WebConfig() = default;
  /// Reads the file, and what it names (relative to it); an empty path: plain HTTP for everybody. Throws
  /// Error(configuration) that says what is wrong and where: a key that is not supported here is an error, because a
  /// protection that is ignored is none.
  static std::shared_ptr<const WebConfig> load(const std::string& path);
  ~WebConfig();
  WebConfig(const WebConfig&) = delete;
  WebConfig& operator=(const WebConfig&) = delete;

  /// nullptr: plain HTTP.
  SSL_CTX* tls() const { return tls_.get(); }
  bool has_users() const { return !users_.empty(); }

  enum class Answer { yes, no, busy };
  /// Whether the value of an Authorization header is that of a user. bcrypt is slow on purpose: what was right once is
  /// remembered, and a flood of guesses is told `busy` instead of taking up every thread. Thread-safe.
  Answer allows(const std::optional<std::string>& authorization) const;

 private:
  friend class WebConfigFile;

  struct FreeTls {
    void operator()(SSL_CTX* context) const;
  };
  std::unique_ptr<SSL_CTX, FreeTls> tls_;
  std::map<std::string, std::string, std::less<>> users_;  // name -> bcrypt hash
  mutable std::mutex mutex_;
  mutable std::condition_variable turn_;
  mutable std::set<std::string, std::less<>> known_;  // digests of credentials that were right: one for every user
  mutable int guesses_ = 0, waiting_ = 0;
};

/// "user:password" out of "Basic …".
std::optional<std::pair<std::string, std::string>> basic_credentials(std::string_view authorization);

}  // namespace pgrm::http
