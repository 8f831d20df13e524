#include "loadgen/control.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "core/base/error.h"
#include "core/http/client.h"
#include "core/http/web_config.h"
#include "tests/fakes/raw_http.h"

namespace pgrm::loadgen {
namespace {

using nlohmann::json;
using testing::HasSubstr;

constexpr auto soon = std::chrono::seconds(10);

class ControlTest : public testing::Test {
 protected:
  void start(const Authority& authority = {}) {
    add_controls(server_,
                 {.pause =
                      [this] {
                        paused_ = true;
                        return drained_.load();
                      },
                  .resume = [this] { paused_ = false; },
                  .set_rate = [this](double rate) { rate_ = rate; },
                  .state =
                      [this] {
                        return json{{"paused", paused_.load()}};
                      },
                  .metrics =
                      [] {
                        return http::Response{200, "metrics", "text/plain"};
                      }},
                 authority);
    server_.start();
  }
  std::unique_ptr<http::Client> client(const Secret& token = {}) const {
    return http::make_client("http://127.0.0.1:" + std::to_string(server_.port()), {.bearer = token});
  }

  std::atomic<bool> paused_ = false;
  std::atomic<bool> drained_ = true;
  std::atomic<double> rate_ = 0;
  http::Server server_{"127.0.0.1:0"};
};

TEST_F(ControlTest, PausesAndResumes) {
  start();
  const auto caller = client();
  const http::Reply paused = caller->post("/api/v1/pause", soon);
  EXPECT_EQ(paused.status, 200);
  EXPECT_TRUE(json::parse(paused.body).at("paused").get<bool>());
  EXPECT_TRUE(paused_);
  const http::Reply resumed = caller->post("/api/v1/resume", soon);
  EXPECT_EQ(resumed.status, 200);
  EXPECT_FALSE(json::parse(resumed.body).at("paused").get<bool>());
  EXPECT_FALSE(paused_);
}

TEST_F(ControlTest, SaysWhenSomethingIsStillInFlight) {
  drained_ = false;
  start();
  const http::Reply reply = client()->post("/api/v1/pause", soon);
  EXPECT_EQ(reply.status, 503);
  EXPECT_THAT(json::parse(reply.body).at("error").get<std::string>(), HasSubstr("in flight"));
}

TEST_F(ControlTest, TakesOrdersOnlyWithTheToken) {
  start({.token = Secret("open sesame")});
  for (const char* const wrong : {"", "open", "open sesamf", "open sesame!"}) {
    for (const char* const order : {"/api/v1/pause", "/api/v1/resume", "/api/v1/rate"}) {
      EXPECT_EQ(client(Secret(wrong))->post(order, soon).status, 401) << wrong << order;
    }
  }
  EXPECT_FALSE(paused_);
  EXPECT_EQ(client(Secret("open sesame"))->post("/api/v1/pause", soon).status, 200);
  EXPECT_TRUE(paused_);
}

TEST_F(ControlTest, AServerThatDemandsPasswordsTakesOrdersWithThem) {
  const std::string file = testing::TempDir() + "control_test.yml";
  std::ofstream(file) << "basic_auth_users: {agent: $2y$04$K6xUl8WCGIuVoIJuo3yLWeerRz6oLQYeFvgwvTyjFXjHIEbUT9JKS}\n";
  const auto config = http::WebConfig::load(file);
  std::filesystem::remove(file);
  EXPECT_THROW(start({.token = Secret("both"), .passwords = config->has_users()}), Error);
  server_.configure(config);
  start({.passwords = config->has_users()});
  const std::string url = "http://127.0.0.1:" + std::to_string(server_.port());
  for (const char* const wrong : {"", "open", "open-sesamf"}) {
    const auto stranger = http::make_client(url, {.user = "agent", .password = Secret(wrong)});
    EXPECT_EQ(stranger->post("/api/v1/pause", soon).status, 401) << wrong;
    EXPECT_EQ(stranger->get("/metrics", soon).status, 401) << wrong;
  }
  EXPECT_FALSE(paused_);
  const auto agent = http::make_client(url, {.user = "agent", .password = Secret("open-sesame")});
  EXPECT_EQ(agent->post("/api/v1/pause", soon).status, 200);
  EXPECT_TRUE(paused_);
}

TEST_F(ControlTest, ReadingNeedsNoToken) {
  start({.token = Secret("open sesame")});
  const auto anybody = client();
  EXPECT_EQ(http::get_ok(*anybody, "/metrics", soon), "metrics");
  EXPECT_EQ(json::parse(http::get_ok(*anybody, "/healthz", soon)).at("status"), "ok");
  EXPECT_FALSE(json::parse(http::get_ok(*anybody, "/api/v1/state", soon)).at("paused").get<bool>());
}

TEST_F(ControlTest, OrdersAreNotTakenByGet) {
  start();
  EXPECT_NE(client()->get("/api/v1/pause", soon).status, 200);
  EXPECT_FALSE(paused_);
}

TEST_F(ControlTest, TakesARate) {
  start();
  EXPECT_TRUE(
      http::raw_post(server_.port(), "/api/v1/rate", R"({"ops_per_second": 250.5})").starts_with("HTTP/1.1 200"));
  EXPECT_EQ(rate_, 250.5);
  EXPECT_TRUE(http::raw_post(server_.port(), "/api/v1/rate", R"({"ops_per_second": 0})").starts_with("HTTP/1.1 200"));
  EXPECT_EQ(rate_, 0) << "as fast as it goes";
}

TEST_F(ControlTest, ARateNeedsANumberInItsBounds) {
  start();
  const http::Reply reply = client()->post("/api/v1/rate", soon);  // without a body
  EXPECT_EQ(reply.status, 400);
  EXPECT_THAT(json::parse(reply.body).at("error").get<std::string>(), HasSubstr("ops_per_second"));
  rate_ = 7;
  for (const char* const wrong :
       {R"({"ops_per_second": -1})", R"({"ops_per_second": 1e7})", R"({"ops_per_second": 1e-10})",
        R"({"ops_per_second": "1"})", R"({"rate": 1})", "[]", "{", "1"}) {
    EXPECT_TRUE(http::raw_post(server_.port(), "/api/v1/rate", wrong).starts_with("HTTP/1.1 400")) << wrong;
  }
  EXPECT_EQ(rate_, 7);
}

}  // namespace
}  // namespace pgrm::loadgen
