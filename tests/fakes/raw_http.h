// HTTP byte for byte, for what http::Client does not say.
#pragma once

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <string>

namespace pgrm::http {

/// What the server on loopback answers to `bytes`, up to the end of the headers; empty when it does not.
inline std::string raw_exchange(int port, const std::string& bytes) {
  const int descriptor = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string answer;
  if (connect(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
      send(descriptor, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size())) {
    for (char byte = 0; answer.find("\r\n\r\n") == std::string::npos && recv(descriptor, &byte, 1, 0) == 1;)
      answer += byte;
  }
  close(descriptor);
  return answer;
}

/// The same for a POST with a body.
inline std::string raw_post(int port, const std::string& path, const std::string& body) {
  return raw_exchange(port, "POST " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: " +
                                std::to_string(body.size()) + "\r\n\r\n" + body);
}

}  // namespace pgrm::http
