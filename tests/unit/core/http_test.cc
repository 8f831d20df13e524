// Client and server against each other, on loopback.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <csignal>
#include <deque>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <tuple>

#include "core/base/error.h"
#include "core/base/wait.h"
#include "core/http/client.h"
#include "core/http/message.h"
#include "core/http/server.h"
#include "tests/fakes/listener.h"
#include "tests/fakes/raw_http.h"

namespace pgrm::http {
namespace {

constexpr auto soon = std::chrono::seconds(10);

class Http : public testing::Test {
 protected:
  void SetUp() override {
    server_.get("/hello", [](const Request&) { return Response{200, "hi", "text/plain"}; });
    server_.get("/long", [](const Request&) { return Response{200, std::string(10'000, 'x'), "text/plain"}; });
    server_.post("/who", [](const Request& request) {
      return Response{200, request.authorization.value_or("nobody") + (request.from_loopback ? " here" : " elsewhere"),
                      "text/plain"};
    });
    server_.post("/length", [](const Request& request) {
      return Response{200 + static_cast<int>(request.body.size()), "x"};
    });
    server_.get("/slow", [](const Request&) {
      system_clock().sleep_for(std::chrono::milliseconds(200), {});
      return Response{200, "late", "text/plain"};
    });
    server_.get("/query", [](const Request& request) -> Response { return {200, request.host + " " + request.query}; });
    server_.get("/breaks", [](const Request&) -> Response { throw Error(ErrorCode::query_failed, "it broke"); });
    server_.start();
  }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(server_.port()); }

  Server server_{"127.0.0.1:0"};
};

TEST_F(Http, AnswersAndKeepsTheConnection) {
  const auto client = make_client(url());
  for (int i = 0; i < 3; ++i) EXPECT_EQ(get_ok(*client, "/hello", soon), "hi");
}

TEST_F(Http, PassesTheTokenAndKnowsLoopback) {
  EXPECT_EQ(make_client(url(), {.bearer = Secret("abc")})->post("/who", soon).body, "Bearer abc here");
  EXPECT_EQ(make_client(url())->post("/who", soon).body, "nobody here");
}

TEST_F(Http, APostWithoutALengthHasNoBodyAndIsAnswered) {
  const std::string answer = raw_exchange(server_.port(), "POST /who HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200")) << answer;
}

TEST_F(Http, APostBringsItsBodyUpToALimit) {
  const auto post = [this](const std::string& body) { return raw_post(server_.port(), "/length", body); };
  EXPECT_TRUE(post("hello").starts_with("HTTP/1.1 205"));
  EXPECT_TRUE(post(std::string(100'000, 'x')).starts_with("HTTP/1.1 413"));
}

TEST_F(Http, EverythingElseIsAProperError) {
  const auto client = make_client(url());
  for (const auto& [reply, status] : {std::pair{client->get("/nothing", soon), 404},
                                      {client->post("/nothing", soon), 404},
                                      {client->post("/hello", soon), 405},
                                      {client->get("/who", soon), 405},
                                      {client->get("/breaks", soon), 500}}) {
    EXPECT_EQ(reply.status, status);
    EXPECT_TRUE(nlohmann::json::parse(reply.body).contains("error")) << reply.body;
  }
  EXPECT_THROW(get_ok(*client, "/nothing", soon), Error);
}

TEST_F(Http, EveryMethodAndPathThatIsNotServedIsToldSo) {
  for (const char* const method : {"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"}) {
    RawClient client(server_.port());
    client.say(std::string(method) + " /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    const std::string answer = client.rest();
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 405")) << answer;
    EXPECT_NE(answer.find("Allow: GET, HEAD"), std::string::npos) << answer;
    EXPECT_TRUE(nlohmann::json::parse(answer.substr(answer.find("\r\n\r\n"))).contains("error"));
  }
}

TEST_F(Http, TheOldVersionEndsWithItsAnswerUnlessAskedNotTo) {
  RawClient old(server_.port());
  old.say("GET /hello HTTP/1.0\r\n\r\n");
  EXPECT_TRUE(old.rest().ends_with("\r\n\r\nhi"));
  const std::string kept = raw_exchange(server_.port(), "GET /hello HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
  EXPECT_NE(kept.find("Connection: keep-alive"), std::string::npos) << kept;
}

TEST_F(Http, TheFormThatProxiesAreSentIsUnderstood) {
  EXPECT_TRUE(
      raw_exchange(server_.port(), "GET http://x/hello?a=b HTTP/1.1\r\nHost: x\r\n\r\n").starts_with("HTTP/1.1 200"));
}

TEST_F(Http, TheQueryIsPassedOnAndItsParametersAreRead) {
  RawClient client(server_.port());
  client.say("GET http://x/query?a=b&c=%41 HTTP/1.1\r\nHost: x:1\r\nConnection: close\r\n\r\n");
  EXPECT_TRUE(client.rest().ends_with("\r\n\r\nx:1 a=b&c=%41"));
  EXPECT_EQ(parameter("a=b&c=%41+d%2", "c"), "A d%2");
  EXPECT_EQ(parameter("a=b&c=1", "a"), "b");
  EXPECT_EQ(parameter("a", "a"), "");
  EXPECT_EQ(parameter("%61=1", "a"), "1");
  EXPECT_EQ(parameter("b=1", "a"), std::nullopt);
  EXPECT_EQ(parameter("", "a"), std::nullopt);
  EXPECT_EQ(parameter("a=1&a=2", "a"), std::nullopt) << "which of them?";
}

TEST_F(Http, HeadIsGetWithoutTheBody) {
  RawClient client(server_.port());
  client.say("HEAD /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  const std::string answer = client.rest();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200"));
  EXPECT_NE(answer.find("Content-Length: 2"), std::string::npos);
  EXPECT_TRUE(answer.ends_with("\r\n\r\n"));
}

TEST_F(Http, RequestsInOnePacketAreAnsweredInTheirOrder) {
  RawClient client(server_.port());
  client.say(
      "GET /hello HTTP/1.1\r\nHost: x\r\n\r\nPOST /length HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"
      "12345GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  const std::string answer = client.rest();
  const auto first = answer.find("HTTP/1.1 200"), second = answer.find("HTTP/1.1 205"),
             third = answer.find("HTTP/1.1 404");
  EXPECT_TRUE(first < second && second < third && third != std::string::npos) << answer;
}

TEST_F(Http, APageWhoseNameLeadsHereGetsNothing) {
  const auto get = [this](const std::string& host) {
    return raw_exchange(server_.port(), "GET /hello HTTP/1.1\r\nHost: " + host + "\r\n\r\n").substr(0, 12);
  };
  for (const char* const host : {"localhost:9717", "127.0.0.1:9717", "10.0.0.1", "[::1]:9717", "exporter:9717",
                                 "localhost.:9717", "exporter.", "localhost.localdomain"}) {
    EXPECT_EQ(get(host), "HTTP/1.1 200") << host;
  }
  for (const char* const host : {"evil.example:9717", "evil.example", "127.0.0.1.nip.io", "localhost.evil.example",
                                 "evil.example.", "evil.localdomain"}) {
    EXPECT_EQ(get(host), "HTTP/1.1 421") << host;
  }
}

TEST_F(Http, APostFromAnotherSitesPageIsRefused) {
  const auto post = [this](const std::string& origin) {
    return raw_exchange(server_.port(), "POST /who HTTP/1.1\r\nHost: a:1\r\nOrigin: " + origin + "\r\n\r\n");
  };
  EXPECT_TRUE(post("http://a:1").starts_with("HTTP/1.1 200"));
  EXPECT_TRUE(post("http://evil").starts_with("HTTP/1.1 403"));
  EXPECT_TRUE(post("null").starts_with("HTTP/1.1 403"));
}

TEST_F(Http, WhatIsTooLargeIsRefusedWithoutBeingRead) {
  const std::string start = "GET /hello HTTP/1.1\r\nHost: x\r\n";
  EXPECT_TRUE(raw_exchange(server_.port(), start + "X: " + std::string(20'000, 'x')).starts_with("HTTP/1.1 431"));
  std::string many = start;
  for (int i = 0; i < 5000; ++i) many += "X: y\r\n";
  EXPECT_TRUE(raw_exchange(server_.port(), many).starts_with("HTTP/1.1 431"));
  EXPECT_TRUE(raw_exchange(server_.port(), "GET /" + std::string(3000, 'x') + " HTTP/1.1\r\nHost: x\r\n\r\n")
                  .starts_with("HTTP/1.1 414"));
  EXPECT_TRUE(raw_exchange(server_.port(), "POST /length HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
                  .starts_with("HTTP/1.1 413"));
}

TEST_F(Http, WhatIsNoRequestIsRefused) {
  for (const std::string& bytes :
       {std::string("hello\r\n\r\n"), std::string("GET /\r\n\r\n"), std::string("GET / HTTP/2.0\r\n\r\n"),
        std::string("GET / HTTP/1.1\r\n\r\n"), std::string("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        std::string("GET / HTTP/1.1\r\nHost: a\r\nX y\r\n\r\n"), std::string("\x16\x03\x01\0\r\n\r\n", 8),
        std::string("POST /length HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n"),
        std::string("POST /length HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
        std::string("POST /length HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")}) {
    const std::string answer = raw_exchange(server_.port(), bytes);
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 50")) << bytes << "\n" << answer;
    EXPECT_FALSE(answer.starts_with("HTTP/1.1 500")) << bytes;
  }
  EXPECT_EQ(get_ok(*make_client(url()), "/hello", soon), "hi") << "and it goes on";
}

TEST_F(Http, GzipIsForWhoAsksAndForWhatIsWorthIt) {
  const auto ask = [this](const std::string& path, const std::string& encoding) {
    RawClient client(server_.port());
    client.say("GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept-Encoding: " + encoding +
               "\r\n\r\n");
    return client.rest();
  };
  const std::string packed = ask("/long", "br;q=0.5, gzip");
  EXPECT_NE(packed.find("Content-Encoding: gzip"), std::string::npos);
  EXPECT_LT(packed.size(), 1000U);
  for (const char* const encoding : {"identity", "gzip;q=0", "gzip;q=0.0", "xgzip"}) {
    EXPECT_EQ(ask("/long", encoding).find("Content-Encoding"), std::string::npos) << encoding;
  }
  EXPECT_EQ(ask("/hello", "gzip").find("Content-Encoding"), std::string::npos) << "two bytes";
  EXPECT_EQ(get_ok(*make_client(url()), "/long", soon), std::string(10'000, 'x')) << "a client that unpacks";
}

TEST(HttpLimits, ASlowClientIsGivenUpAndHoldsUpNobody) {
  Server server("127.0.0.1:0", {.request = std::chrono::milliseconds(200)});
  server.get("/", [](const Request&) { return Response{200, "hi", "text/plain"}; });
  server.start();
  RawClient slow(server.port());
  slow.say("GET / HTTP/1.1\r\nHo");
  EXPECT_EQ(get_ok(*make_client("http://127.0.0.1:" + std::to_string(server.port())), "/", soon), "hi");
  EXPECT_TRUE(slow.rest().starts_with("HTTP/1.1 408"));
}

TEST(HttpLimits, OneConnectionTooManyEndsTheLongestIdleOne) {
  Server server("127.0.0.1:0", {.connections = 2});
  server.get("/", [](const Request&) { return Response{200, "hi", "text/plain"}; });
  server.start();
  const std::string ask = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
  RawClient first(server.port());
  first.say(ask);
  EXPECT_NE(first.head(), "");
  RawClient second(server.port());
  second.say(ask);
  EXPECT_NE(second.head(), "");
  // Right after its answer a connection is not idle yet.
  const auto third = [&] {
    RawClient client(server.port());
    client.say(ask);
    return client.head().starts_with("HTTP/1.1 200");
  };
  EXPECT_EQ(wait_until(system_clock(), soon, std::chrono::milliseconds(1), {}, third), WaitEnd::reached);
  EXPECT_EQ(first.rest(), "hi") << "its body, and then the end";
}

TEST(HttpLimits, WithNothingIdleTheOneThatIsBusyForLongestIsEnded) {
  Server server("127.0.0.1:0", {.connections = 2, .request = std::chrono::seconds(20)});
  server.get("/", [](const Request&) { return Response{200, "hi", "text/plain"}; });
  server.start();
  std::deque<RawClient> dribblers;
  for (int i = 0; i < 2; ++i) {
    dribblers.emplace_back(server.port())
        .say("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    ASSERT_TRUE(dribblers.back().head().starts_with("HTTP/1.1 100")) << "it is in the middle of a request";
  }
  EXPECT_EQ(get_ok(*make_client("http://127.0.0.1:" + std::to_string(server.port())), "/", soon), "hi");
  EXPECT_EQ(dribblers.front().rest(), "");
}

TEST(HttpServer, EndsAtOnceWhateverItsClientsDo) {
  auto server = std::make_unique<Server>("127.0.0.1:0");
  server->start();
  RawClient idle(server->port());
  RawClient slow(server->port());
  slow.say("GET / HT");
  server.reset();
  EXPECT_EQ(idle.rest(), "");
}

/// The last scrape of a program that ends.
TEST(HttpServer, AnAnswerThatIsOnItsWayArrives) {
  std::atomic<bool> asked = false;
  auto server = std::make_unique<Server>("127.0.0.1:0");
  server->get("/last", [&asked](const Request&) {
    asked = true;
    system_clock().sleep_for(std::chrono::milliseconds(100), {});
    return Response{200, "the end", "text/plain"};
  });
  server->start();
  RawClient client(server->port());
  ASSERT_TRUE(client.say("GET /last HTTP/1.1\r\nHost: localhost\r\n\r\n"));
  while (!asked) std::this_thread::yield();
  server.reset();
  EXPECT_NE(client.rest().find("the end"), std::string::npos);
}

TEST_F(Http, ATakenPortIsAConfigurationError) {
  Server second("127.0.0.1:" + std::to_string(server_.port()));
  try {
    second.start();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::configuration);
  }
}

TEST(HttpServer, RefusesAnAddressThatIsNone) {
  for (const char* listen : {"", "x", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:70000", "127.0.0.1:-1"}) {
    EXPECT_THROW(Server{listen}, Error) << listen;
  }
}

TEST(HttpClient, RefusesAUrlThatIsNone) {
  for (const char* url : {"", "localhost:1", "ftp://x", "http://", "http://x/path"}) {
    EXPECT_THROW(make_client(url), Error) << url;
  }
}

TEST(HttpClient, NobodyThereIsUnreachable) {
  try {
    make_client("http://127.0.0.1:1")->get("/", soon);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unreachable);
  }
}

/// A server that answers one connection with `start`, and then a byte every 10 ms for as long as they are taken.
class Dribbler {
 public:
  explicit Dribbler(std::string start) : start_(std::move(start)), thread_([this] { serve(); }) {}
  ~Dribbler() { listener_.shut_down(); }
  Dribbler(const Dribbler&) = delete;
  Dribbler& operator=(const Dribbler&) = delete;

  int port() const { return listener_.port(); }
  /// Whether the client went, and not the patience of this one.
  bool was_left() {
    thread_.join();
    return left_;
  }

 private:
  void serve() {
    const int client = listener_.accept_one();
    std::array<char, 4096> request{};
    recv(client, request.data(), request.size(), 0);
    send(client, start_.data(), start_.size(), MSG_NOSIGNAL);
    const auto refused = [client] { return send(client, "x", 1, MSG_NOSIGNAL) != 1; };
    left_ = wait_until(system_clock(), soon, std::chrono::milliseconds(10), {}, refused) == WaitEnd::reached;
    close(client);
  }

  const std::string start_;
  const Listener listener_;
  bool left_ = false;
  std::jthread thread_;  // last: it uses all of the above
};

TEST(HttpClient, TheDeadlineIsForTheWholeRequestHoweverSlowlyItsPartsCome) {
  std::signal(SIGPIPE, SIG_IGN);  // as in the programs: see Client
  const std::string ok = "HTTP/1.1 200 OK\r\n";
  for (const auto& [what, scheme, start] : {std::tuple{"a line", "http", std::string("HTTP/1.1 200 ")},
                                            {"headers", "http", ok + "X: "},
                                            {"a body", "http", ok + "Content-Length: 100000\r\n\r\n"},
                                            {"a body that ends with the connection", "http", ok + "\r\n"},
                                            {"a chunk", "http", ok + "Transfer-Encoding: chunked\r\n\r\n10000\r\n"},
                                            {"a TLS handshake", "https", std::string("\x16\x03\x03\x40\x00", 5)}}) {
    Dribbler server(start);
    const auto client = make_client(std::string(scheme) + "://127.0.0.1:" + std::to_string(server.port()));
    try {
      client->get("/", std::chrono::milliseconds(100));
      ADD_FAILURE() << what;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::timeout) << what << ": " << error.what();
    }
    EXPECT_TRUE(server.was_left()) << what;
  }
}

TEST_F(Http, AClientThatRanOutOfTimeAsksAnew) {
  const auto client = make_client(url());
  EXPECT_THROW(client->get("/slow", std::chrono::milliseconds(50)), Error);
  EXPECT_EQ(get_ok(*client, "/hello", soon), "hi");
}

}  // namespace
}  // namespace pgrm::http
