// HTTP byte for byte, for what http::Client does not say.
#pragma once

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <string>

namespace pgrm::http {

/// A client that says what it likes.
class RawClient {
 public:
  explicit RawClient(int port) : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    // When nobody listens, nothing can be said and nothing is answered.
    if (connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return;
    const timeval limit{20, 0};
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  }
  ~RawClient() { close(socket_); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  /// False when the server does not take it any more.
  bool say(const std::string& bytes) {
    return send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
  }
  /// Up to the end of the headers.
  std::string head() {
    std::string answer;
    for (char byte = 0; answer.find("\r\n\r\n") == std::string::npos && recv(socket_, &byte, 1, 0) == 1;)
      answer += byte;
    return answer;
  }
  /// Everything up to the end of the connection.
  std::string rest() {
    std::string answer;
    std::array<char, 4096> part{};
    for (ssize_t got = 0; (got = recv(socket_, part.data(), part.size(), 0)) > 0;) {
      answer.append(part.data(), static_cast<std::size_t>(got));
    }
    return answer;
  }

 private:
  int socket_;
};

/// What the server on loopback answers to `bytes`, up to the end of the headers; empty when it does not.
inline std::string raw_exchange(int port, const std::string& bytes) {
  RawClient client(port);
  return client.say(bytes) ? client.head() : std::string();
}

/// The same for a POST with a body.
inline std::string raw_post(int port, const std::string& path, const std::string& body) {
  return raw_exchange(port, "POST " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: " +
                                std::to_string(body.size()) + "\r\n\r\n" + body);
}

}  // namespace pgrm::http
