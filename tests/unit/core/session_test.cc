#include "core/pg/session.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <thread>

#include "tests/fakes/listener.h"

namespace pgrm {
namespace {

std::string big_endian(std::uint32_t number, int bytes) {
  std::string text;
  for (int shift = (bytes - 1) * 8; shift >= 0; shift -= 8) text += static_cast<char>(number >> shift & 0xff);
  return text;
}

/// PostgreSQL, "Message Formats".
std::string message(char type, const std::string& body) {
  return type + big_endian(static_cast<std::uint32_t>(body.size()) + 4, 4) + body;
}

/// Lets one client in, and answers all it says after that with a row of two values where it has announced one.
class GarbledServer {
 public:
  GarbledServer() : thread_([this] { serve(); }) {}
  GarbledServer(const GarbledServer&) = delete;
  GarbledServer& operator=(const GarbledServer&) = delete;

  int port() const { return listener_.port(); }

 private:
  void serve() const {
    const std::string zero(1, '\0'), ready = message('Z', "I");
    const auto parameter = [&](const std::string& name, const std::string& value) {
      return message('S', name + zero + value + zero);
    };
    const std::string welcome = message('R', big_endian(0, 4)) + parameter("server_version", "15.0") +
                                parameter("client_encoding", "UTF8") + message('K', big_endian(1, 4) + "key.") + ready;
    const std::string column = "n" + zero + big_endian(0, 6) + big_endian(25, 4) + big_endian(0, 2) +
                               big_endian(0xffffffff, 4) + big_endian(0, 2);
    const std::string answer = message('T', big_endian(1, 2) + column) + message('D', big_endian(2, 2)) +
                               message('C', "COMMIT" + zero) + ready;
    const int client = listener_.accept_one();
    const std::string* next = &welcome;
    for (std::array<char, 4096> heard{}; recv(client, heard.data(), heard.size(), 0) > 0; next = &answer) {
      send(client, next->data(), next->size(), MSG_NOSIGNAL);
    }
    close(client);
  }

  const Listener listener_;
  std::jthread thread_;  // last: it uses the listener
};

TEST(Session, AnAnswerThatCannotBeReadIsNoRefusal) {
  constexpr auto soon = std::chrono::seconds(20);
  GarbledServer server;
  Session session(Conninfo::parse("host=127.0.0.1 user=x dbname=x sslmode=disable gssencmode=disable")
                      .with("port", std::to_string(server.port())),
                  "session_test");
  session.open(soon);
  try {
    session.script("COMMIT", soon);
    ADD_FAILURE() << "nothing was thrown";
  } catch (const SqlError& refusal) {
    ADD_FAILURE() << "nothing would have happened: " << refusal.what();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::connection_lost) << error.what();
  }
  EXPECT_FALSE(session.is_open()) << "what comes next would be taken for the answer to something else";
}

}  // namespace
}  // namespace pgrm
