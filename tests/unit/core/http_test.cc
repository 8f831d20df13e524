// Client and server against each other, on loopback.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "core/base/error.h"
#include "core/http/client.h"
#include "core/http/server.h"
#include "tests/fakes/raw_http.h"

namespace pgrm::http {
namespace {

constexpr auto soon = std::chrono::seconds(10);

class Http : public testing::Test {
 protected:
  void SetUp() override {
    server_.get("/hello", [](const Request&) { return Response{200, "hi", "text/plain"}; });
    server_.post("/who", [](const Request& request) {
      return Response{200, request.authorization.value_or("nobody") + (request.from_loopback ? " here" : " elsewhere"),
                      "text/plain"};
    });
    server_.post("/length", [](const Request& request) {
      return Response{200 + static_cast<int>(request.body.size()), "x"};
    });
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
  EXPECT_EQ(make_client(url(), Secret("abc"))->post("/who", soon).body, "Bearer abc here");
  EXPECT_EQ(make_client(url())->post("/who", soon).body, "nobody here");
}

TEST_F(Http, APostWithoutALengthHasNoBodyAndIsAnsweredAtOnce) {
  const auto begun = std::chrono::steady_clock::now();
  const std::string answer = raw_exchange(server_.port(), "POST /who HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200")) << answer;
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(4)) << "httplib's timeout is 5 s";
}

TEST_F(Http, APostBringsItsBodyUpToALimit) {
  const auto post = [this](const std::string& body) { return raw_post(server_.port(), "/length", body); };
  EXPECT_TRUE(post("hello").starts_with("HTTP/1.1 205"));
  EXPECT_TRUE(post(std::string(100'000, 'x')).starts_with("HTTP/1.1 413"));
}

TEST_F(Http, EverythingElseIsAProperError) {
  const auto client = make_client(url());
  for (const auto& [reply, status] : {std::pair{client->get("/nothing", soon), 404},
                                      {client->post("/hello", soon), 404},
                                      {client->get("/breaks", soon), 500}}) {
    EXPECT_EQ(reply.status, status);
    EXPECT_TRUE(nlohmann::json::parse(reply.body).contains("error")) << reply.body;
  }
  EXPECT_THROW(get_ok(*client, "/nothing", soon), Error);
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

}  // namespace
}  // namespace pgrm::http
