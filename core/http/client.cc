#include "core/http/client.h"

#include <fmt/format.h>
#include <httplib.h>

#include <regex>
#include <tuple>
#include <utility>

#include "core/base/error.h"
#include "core/base/socket_watchdog.h"

namespace pgrm::http {
namespace {

class HttplibClient final : public Client {
 public:
  explicit HttplibClient(std::string url) : url_(std::move(url)), client_(url_) {
    client_.set_keep_alive(true);
    client_.set_tcp_nodelay(true);
    // cpp-httplib's limits are for each wait: the watchdog ends a slow server. Without a descriptor to spare for
    // it, they have to do.
    client_.set_socket_options([this](socket_t socket) { std::ignore = watchdog_.watch(socket); });
  }

  void present(const Access& access) {
    if (!access.bearer.empty() && access.user.empty())
      client_.set_default_headers({{"Authorization", "Bearer " + access.bearer.reveal()}});
    if (!access.user.empty()) client_.set_basic_auth(access.user.c_str(), access.password.reveal().c_str());
    if (!access.ca_file.empty()) client_.set_ca_cert_path(access.ca_file.c_str());
  }

  Reply get(const std::string& path, Duration deadline) override {
    return within(deadline, path, [&] { return client_.Get(path.c_str()); });
  }

  Reply post(const std::string& path, Duration deadline) override {
    return within(deadline, path, [&] { return client_.Post(path.c_str(), std::string(), "application/json"); });
  }

  std::string describe() const override { return url_; }

 private:
  void limit(Duration deadline) {
    const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(deadline);
    client_.set_connection_timeout(micros);
    client_.set_read_timeout(micros);
    client_.set_write_timeout(micros);
  }

  template <class Request>
  Reply within(Duration deadline, const std::string& path, Request&& request) {
    limit(deadline);
    const SocketWatchdog::Guard guard(watchdog_, deadline);
    const httplib::Result result = request();
    if (client_.is_socket_open() == 0) watchdog_.forget();
    return reply(path, result, deadline);
  }

  Reply reply(const std::string& path, const httplib::Result& result, Duration deadline) const {
    const bool late = watchdog_.bit();  // then a body without a length only seems to be complete
    if (result && !late) return {result->status, result->body};
    constexpr auto hint = "check the URL and that the program runs";
    if (late || result.error() == httplib::Error::Read || result.error() == httplib::Error::Write) {
      throw Error(ErrorCode::timeout, fmt::format("no answer from {}{} within {}", url_, path, human(deadline)), hint);
    }
    if (result.error() == httplib::Error::SSLServerVerification || result.error() == httplib::Error::SSLLoadingCerts) {
      throw Error(ErrorCode::http_failed, fmt::format("the certificate of {} is not to be trusted", url_),
                  "name the file of its authority: EXPORTER_CA_FILE, LOADGEN_CA_FILE");
    }
    throw Error(ErrorCode::unreachable, fmt::format("cannot reach {}", url_), hint);
  }

  std::string url_;
  SocketWatchdog watchdog_;
  httplib::Client client_;  // last: it tells the watchdog of its sockets
};

}  // namespace

std::unique_ptr<Client> make_client(const std::string& url, const Access& access) {
  static const std::regex form(R"(https?://[^/?#@\s]+/?)");
  if (!std::regex_match(url, form)) {
    // A user and password in it would be repeated here, and are of no use anyway.
    const bool tells = url.find('@') == std::string::npos;
    throw Error(ErrorCode::configuration,
                fmt::format("\"{}\" is no URL like http://127.0.0.1:9717", tells ? url : "…@…"));
  }
  auto client = std::make_unique<HttplibClient>(url.ends_with('/') ? url.substr(0, url.size() - 1) : url);
  client->present(access);
  return client;
}

std::string get_ok(Client& client, const std::string& path, Duration deadline) {
  Reply reply = client.get(path, deadline);
  if (reply.status != 200) {
    throw Error(ErrorCode::http_failed, fmt::format("{}{} answered {}", client.describe(), path, reply.status));
  }
  return std::move(reply.body);
}

}  // namespace pgrm::http
