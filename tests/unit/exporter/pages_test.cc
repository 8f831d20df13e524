#include "exporter/pages.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/http/client.h"
#include "tests/fakes/pair_sample.h"

namespace pgrm::exporter {
namespace {

using fakes::pair_sample;
using std::chrono::milliseconds;
using std::chrono::seconds;

const SyncPolicy policy{.thresholds = {}, .required = 3, .interval = seconds(5)};

View nothing() { return {std::make_shared<const Observation>(policy), Mono{} + std::chrono::hours(1)}; }

View view_of(const Sample& sample, Duration age = {}) {
  return {std::make_shared<const Observation>(Observation(policy).next(sample)), sample.sampled_mono + age};
}

View stale() { return view_of(pair_sample(), policy.max_gap() + milliseconds(1)); }

std::string error_of(const http::Response& response) { return nlohmann::json::parse(response.body).at("error"); }

TEST(Pages, BeforeTheFirstObservationOnlyTheProcessIsWell) {
  EXPECT_EQ(answer("/healthz", nothing()).status, 200);
  EXPECT_EQ(answer("/metrics", nothing()).status, 200);
  EXPECT_EQ(answer("/readyz", nothing()).status, 503);
  EXPECT_EQ(answer("/api/v1/state", nothing()).status, 503);
  EXPECT_EQ(error_of(answer("/api/v1/state", nothing())), "nothing has been observed yet");
  EXPECT_EQ(answer("/nodes/primary/writable", nothing()).status, 503);
}

TEST(Pages, ReadyMeansAFreshObservationWhateverItSaw) {
  EXPECT_EQ(answer("/readyz", view_of(pair_sample())).status, 200);
  Sample down = pair_sample();
  down.primary = fakes::unseen("db1:5432");
  EXPECT_EQ(answer("/readyz", view_of(down)).status, 200);
  EXPECT_EQ(answer("/readyz", stale()).status, 503);
  EXPECT_EQ(error_of(answer("/readyz", stale())), "the last observation is 13.0 s old, allowed is 13.0 s");
}

TEST(Pages, StateIsTheJsonOfTheObservation) {
  const http::Response response = answer("/api/v1/state", view_of(pair_sample(), milliseconds(500)));
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.content_type, "application/json");
  const auto state = nlohmann::json::parse(response.body);
  EXPECT_EQ(state["generation"], 1);
  EXPECT_EQ(state["age_seconds"], 0.5);
  EXPECT_EQ(state["sync"]["in_sync"], true);
}

TEST(Pages, MetricsAreInTheTextFormat) {
  const http::Response response = answer("/metrics", view_of(pair_sample()));
  EXPECT_EQ(response.content_type, "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_NE(response.body.find("\npgrm_in_sync 1\n"), std::string::npos);
}

TEST(Pages, TheStatusPageNeedsNothingFromElsewhere) {
  const http::Response response = answer("/", view_of(pair_sample()));
  EXPECT_EQ(response.content_type, "text/html; charset=utf-8");
  EXPECT_NE(response.body.find("</html>"), std::string::npos);
  EXPECT_EQ(response.body.find("://"), std::string::npos) << "no other host";
}

TEST(WritablePages, FollowTheObservedRole) {
  struct Case {
    const char* description;
    View view;
    int primary, replica;
  };
  Sample fenced = pair_sample();
  fenced.primary.state->default_read_only = true;
  Sample primary_down = pair_sample();
  primary_down.primary = fakes::unseen("db1:5432");
  const Sample split = pair_sample(fakes::primary_state(), fakes::promoted_state());
  for (const Case& c :
       {Case{"before the cutover", view_of(pair_sample()), 200, 503}, Case{"fenced", view_of(fenced), 503, 503},
        Case{"after the cutover", view_of(fakes::sample_after_cutover()), 503, 200},
        Case{"two that take writes", view_of(split), 503, 503}, Case{"primary down", view_of(primary_down), 503, 503},
        Case{"stale", stale(), 503, 503}}) {
    EXPECT_EQ(answer("/nodes/primary/writable", c.view).status, c.primary) << c.description;
    EXPECT_EQ(answer("/nodes/replica/writable", c.view).status, c.replica) << c.description;
  }
  EXPECT_EQ(answer("/nodes/replica/writable", view_of(pair_sample())).body,
            "{\"node\": \"replica\", \"writable\": false}\n");
}

TEST(Pages, AreServed) {
  http::Server server("127.0.0.1:0");
  add_pages(server, [] { return view_of(pair_sample()); });
  server.start();
  const auto client = http::make_client("http://127.0.0.1:" + std::to_string(server.port()));
  const std::pair<const char*, int> expected[] = {{"/", 200},
                                                  {"/metrics", 200},
                                                  {"/api/v1/state", 200},
                                                  {"/healthz", 200},
                                                  {"/readyz", 200},
                                                  {"/nodes/primary/writable", 200},
                                                  {"/nodes/replica/writable", 503},
                                                  {"/nodes/other/writable", 404}};
  for (const auto& [path, status] : expected) EXPECT_EQ(client->get(path, seconds(10)).status, status) << path;
}

}  // namespace
}  // namespace pgrm::exporter
