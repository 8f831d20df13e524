#include "exporter/fleet_pages.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <regex>

#include "exporter/fleet_json.h"
#include "exporter/gauges.h"
#include "exporter/pages.h"
#include "tests/fakes/pair_sample.h"

namespace pgrm::exporter {
namespace {

using fakes::pair_sample;

const SyncPolicy policy{.thresholds = {}, .required = 2, .interval = std::chrono::seconds(5)};

View view_of(const Sample& sample, int checks = 1, Duration age = {}) {
  Observation observation(policy);
  Sample seen = sample;
  for (int i = 0; i < checks; ++i) {
    if (i > 0) seen = fakes::later(seen, policy.interval);
    observation = observation.next(seen);
  }
  return {std::make_shared<const Observation>(std::move(observation)), seen.sampled_mono + age};
}

View nothing() { return {std::make_shared<const Observation>(policy), Mono{} + std::chrono::hours(1)}; }

Sample lagging() {
  Sample sample = pair_sample();
  fakes::fall_behind(sample, 1 << 20);
  return sample;
}

std::vector<NamedView> fleet() {
  const Sample split = pair_sample(fakes::primary_state(), fakes::promoted_state());
  Sample one = split;
  one.replica.state->started_at = one.primary.state->started_at;
  return {{"a-ready", {{"team", "x"}}, view_of(pair_sample(), 2)},
          {"b-new", {}, view_of(pair_sample())},
          {"c-lags", {}, view_of(lagging())},
          {"d-moved", {}, view_of(fakes::sample_after_cutover())},
          {"e-split", {}, view_of(split)},
          {"e-one", {}, view_of(one)},
          {"f-stale", {}, view_of(pair_sample(), 2, std::chrono::minutes(1))},
          {"g-none", {}, nothing()},
          {"h-standby", {}, view_of(pair_sample(fakes::replica_state(), fakes::primary_state()), 2)}};
}

http::Response get(const std::string& path, const std::string& query = {}) {
  const FleetViews views{.all = fleet, .one = [](std::string_view name) -> std::optional<NamedView> {
                           for (NamedView& pair : fleet()) {
                             if (pair.name == name) return pair;
                           }
                           return std::nullopt;
                         }};
  http::Request request;
  request.method = "GET";
  request.path = path;
  request.query = query;
  request.host = "exporter:9717";
  return fleet_answer(request, views).value();
}

TEST(FleetPages, ListThePairsWorstFirst) {
  std::vector<std::pair<std::string, std::string>> seen;
  for (const auto& pair : nlohmann::json::parse(get("/api/v1/pairs").body)) {
    seen.emplace_back(pair.at("name"), pair.at("verdict"));
  }
  const std::vector<std::pair<std::string, std::string>> expected{
      {"e-split", "split"},    {"f-stale", "unseen"},  {"g-none", "unseen"},
      {"c-lags", "not_ready"}, {"e-one", "not_ready"}, {"b-new", "in_sync"},
      {"d-moved", "moved"},    {"h-standby", "moved"}, {"a-ready", "ready"}};
  EXPECT_EQ(seen, expected);
}

TEST(FleetPages, SayOfAPairWhatIsKnownAndNothingElse) {
  const auto pairs = nlohmann::json::parse(get("/api/v1/pairs").body);
  const auto& ready = pairs.back();
  EXPECT_EQ(ready.at("labels").at("team"), "x");
  EXPECT_EQ(ready.at("consecutive"), 2);
  EXPECT_EQ(ready.at("lag_bytes"), 0);
  EXPECT_EQ(ready.at("age_seconds"), 0.0);
  EXPECT_EQ(ready.at("writable"), "primary");
  EXPECT_EQ(ready.at("primary").at("address"), "db1:5432");
  const auto& none = pairs.at(2);
  EXPECT_TRUE(none.at("lag_bytes").is_null());
  EXPECT_TRUE(none.at("age_seconds").is_null());
  EXPECT_TRUE(none.at("writable").is_null());
}

/// Its lines without `cluster`, and without the labels of the pair.
std::string as_when_alone(std::string text) {
  return std::regex_replace(std::regex_replace(text, std::regex(R"(\{cluster="[^"]*"(,team="x")?\})"), ""),
                            std::regex(R"(\{cluster="[^"]*"(,team="x")?,)"), "{");
}

std::map<std::string, double> values_of(const std::string& text) {
  std::map<std::string, double> values;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with('#')) continue;
    const auto blank = line.rfind(' ');
    EXPECT_TRUE(values.emplace(line.substr(0, blank), std::stod(line.substr(blank + 1))).second) << "twice: " << line;
  }
  return values;
}

TEST(FleetPages, AProbeHasTheSeriesOfThatPairAsTheyAreWhenItIsAlone) {
  const http::Response probe = get("/probe", "target=a-ready");
  EXPECT_EQ(probe.content_type, "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_NE(probe.body.find("\npgrm_in_sync{cluster=\"a-ready\",team=\"x\"} 1\n"), std::string::npos) << probe.body;
  EXPECT_EQ(values_of(as_when_alone(probe.body)), values_of(answer("/metrics", fleet().front().view).body));
}

TEST(FleetPages, TheMetricsOfAllAreEachFamilyOnceWithEveryPair) {
  const std::string body = get("/metrics").body;
  const auto all = values_of(body);
  for (const NamedView& pair : fleet()) {
    EXPECT_TRUE(all.contains("pgrm_up{cluster=\"" + pair.name + "\"" + (pair.labels.empty() ? "" : ",team=\"x\"") +
                             ",node=\"primary\"}"))
        << pair.name;
  }
  std::set<std::string> families;
  for (std::size_t at = 0; (at = body.find("# TYPE ", at)) != std::string::npos; ++at) {
    EXPECT_TRUE(families.insert(body.substr(at, body.find('\n', at) - at)).second);
  }
}

TEST(FleetPages, TargetsLeadPrometheusToTheProbes) {
  const auto targets = nlohmann::json::parse(get("/api/v1/sd").body);
  ASSERT_EQ(targets.size(), fleet().size());
  const nlohmann::json expected{{"targets", {"exporter:9717"}},
                                {"labels",
                                 {{"team", "x"},
                                  {"cluster", "a-ready"},
                                  {"instance", "a-ready"},
                                  {"exporter", "exporter:9717"},
                                  {"__metrics_path__", "/probe"},
                                  {"__param_target", "a-ready"}}}};
  EXPECT_EQ(targets[0], expected);
}

TEST(FleetPages, OfOnePairAreThoseOfAnExporterThatWatchesIt) {
  EXPECT_EQ(get("/api/v1/state", "pair=a-ready").body, answer("/api/v1/state", fleet().front().view).body);
  EXPECT_EQ(get("/", "pair=a-ready").body, status_html);
  EXPECT_EQ(get("/nodes/replica/writable", "pair=d-moved").status, 200);
  EXPECT_EQ(get("/nodes/replica/writable", "pair=a-ready").status, 503);
}

TEST(FleetPages, ANameThatIsNoneLeadsNowhere) {
  for (const char* const path : {"/api/v1/state", "/nodes/primary/writable"}) {
    EXPECT_EQ(get(path).status, 400) << path;
    EXPECT_EQ(get(path, "pair=").status, 404) << path;
    EXPECT_EQ(get(path, "pair=host%3Devil").status, 404) << path;
    EXPECT_EQ(get(path, "target=a-ready").status, 400) << path;
  }
  EXPECT_EQ(get("/probe").status, 400);
  EXPECT_EQ(get("/probe", "target=127.0.0.1:5432").status, 404);
  EXPECT_EQ(get("/", "pair=nobody").status, 404);
}

TEST(FleetPages, AreReadyWhenEveryPairHasBeenSeenLately) {
  EXPECT_EQ(get("/healthz").status, 200);
  EXPECT_EQ(get("/readyz").status, 503);
  EXPECT_NE(get("/readyz").body.find("2 of 9 pairs have no fresh observation"), std::string::npos);
}

TEST(FleetPages, TheFrontPageNeedsNothingFromElsewhere) {
  const http::Response page = get("/");
  EXPECT_EQ(page.content_type, "text/html; charset=utf-8");
  EXPECT_NE(page.body.find("</html>"), std::string::npos);
  EXPECT_EQ(page.body.find("://"), std::string::npos) << "no other host";
}

TEST(FleetPages, AnotherPathIsNone) {
  const FleetViews none{.all = [] { return std::vector<NamedView>(); },
                        .one = [](std::string_view) { return std::nullopt; }};
  http::Request request;
  request.path = "/nothing";
  EXPECT_FALSE(fleet_answer(request, none));
}

}  // namespace
}  // namespace pgrm::exporter
