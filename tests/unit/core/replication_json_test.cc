#include "core/replication/json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "tests/fakes/pair_sample.h"

namespace pgrm {
namespace {

using fakes::pair_sample;
using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::seconds;

const SyncPolicy policy{.thresholds = {}, .required = 3, .interval = seconds(5)};

std::string text_of(const Sample& sample, Duration age = milliseconds(250)) {
  SyncStreak streak(policy);
  streak.add(sample);
  return state_to_json(sample, streak, sample.sampled_mono + age);
}

TEST(StateJson, SaysWhatTheContractPromises) {
  const json state = json::parse(text_of(pair_sample()));
  EXPECT_EQ(state["generation"], 1);
  EXPECT_EQ(state["sampled_at"], "2023-11-14T22:13:20.000Z");
  EXPECT_EQ(state["age_seconds"], 0.25);
  EXPECT_EQ(state["interval_seconds"], 5.0);
  EXPECT_EQ(state["stale_after_seconds"], to_seconds(policy.max_gap()));
  EXPECT_EQ(state["system_identifier"], "7300000000000000001");
  EXPECT_EQ(state["writable"], "primary");
  EXPECT_EQ(state["sync"]["in_sync"], true);
  EXPECT_EQ(state["sync"]["consecutive"], 1);
  EXPECT_EQ(state["sync"]["required"], 3);
  EXPECT_EQ(state["sync"]["since"], "2023-11-14T22:13:20.000Z");
  EXPECT_EQ(state["sync"]["reasons"], json::array());
  EXPECT_EQ(state["sync"]["catch_up_seconds"], 0.0);
  EXPECT_EQ(state["sync"]["catch_up_remaining_bytes"], 0);
  EXPECT_EQ(state["lag"]["bytes"], 0);
  EXPECT_EQ(state["lag"]["replay_seconds"], 0.0);
  const json& primary = state["nodes"]["primary"];
  EXPECT_EQ(primary["reachable"], true);
  EXPECT_EQ(primary["in_recovery"], false);
  EXPECT_EQ(primary["timeline"], 1);
  EXPECT_EQ(primary["read_only"], false);
  EXPECT_EQ(primary["wal_flush_lsn"], "0/3000148");
  EXPECT_EQ(primary["wal_replay_lsn"], nullptr);
  EXPECT_EQ(primary["standbys"][0]["state"], "streaming");
  EXPECT_EQ(primary["standbys"][0]["replay_lag_seconds"], nullptr) << "as the server reports it";
  EXPECT_EQ(primary["slots"][0]["active"], true);
  EXPECT_EQ(state["nodes"]["replica"]["wal_receiver"]["status"], "streaming");
}

TEST(StateJson, KeepsEveryBitOfAnLsn) {
  Sample sample = pair_sample();
  sample.primary.state->wal_flush = Lsn((std::uint64_t{1} << 53) + 1);  // a double would lose the last bit
  const json state = json::parse(text_of(sample));
  EXPECT_EQ(state["nodes"]["primary"]["wal_flush_lsn_bytes"], "9007199254740993");
  EXPECT_EQ(state["nodes"]["primary"]["wal_flush_lsn"], "200000/1");
}

TEST(StateJson, SaysWhyAServerIsNotReachable) {
  Sample sample = pair_sample();
  sample.replica = fakes::unseen("db2:5432");
  const json state = json::parse(text_of(sample));
  EXPECT_EQ(state["nodes"]["replica"]["reachable"], false);
  EXPECT_EQ(state["nodes"]["replica"]["error"], "connection refused");
  EXPECT_FALSE(state["nodes"]["replica"].contains("in_recovery"));
  EXPECT_EQ(state["lag"]["bytes"], nullptr);
  EXPECT_EQ(state["system_identifier"], "7300000000000000001") << "the one that is known";
}

TEST(StateJson, HasNoSystemIdentifierForTwoClusters) {
  Sample sample = pair_sample();
  sample.replica.state->system_identifier = "7300000000000000002";
  EXPECT_EQ(json::parse(text_of(sample))["system_identifier"], nullptr);
}

TEST(StateJson, IsNotInSyncWhenItIsTooOld) {
  const json state = json::parse(text_of(pair_sample(), policy.max_gap() + milliseconds(1)));
  EXPECT_EQ(state["sync"]["in_sync"], false);
  EXPECT_EQ(state["sync"]["consecutive"], 0);
  EXPECT_EQ(state["sync"]["reasons"][0]["name"], "gap");
}

TEST(StateJson, SurvivesAnErrorTextInAnyEncoding) {
  Sample sample = pair_sample();
  sample.replica = fakes::unseen("db2:5432");
  sample.replica.error = "Verbindung verweigert f\xfcr \"x\"";
  EXPECT_TRUE(json::accept(text_of(sample)));
}

TEST(StateFromJson, ReadsWhatWasWritten) {
  Sample sample = pair_sample();
  fakes::fall_behind(sample, 5000, milliseconds(1002));
  sample.primary.state->standbys.front().replay_lag = milliseconds(1500);
  const ExporterState state = state_from_json(text_of(sample));
  EXPECT_EQ(state.generation, 1U);
  EXPECT_EQ(state.age, milliseconds(250));
  EXPECT_EQ(state.interval, seconds(5));
  EXPECT_TRUE(state.primary.reachable);
  EXPECT_EQ(state.primary.in_recovery, false);
  EXPECT_EQ(state.replica.in_recovery, true);
  EXPECT_EQ(state.replica.address, "db2:5432");
  EXPECT_EQ(state.primary.system_identifier, "7300000000000000001");
  EXPECT_FALSE(state.in_sync);
  EXPECT_EQ(state.consecutive, 0);
  EXPECT_EQ(state.required, 3);
  ASSERT_EQ(state.reasons.size(), 2U);
  EXPECT_EQ(state.reasons[0].name, "lag_bytes");
  EXPECT_EQ(state.reasons[0].text, "5.0 kB of WAL were still missing after 1.0 s");
  EXPECT_EQ(state.reasons[1].name, "lag_seconds");
  EXPECT_EQ(state.lag_bytes, 5000);
  EXPECT_EQ(state.replay_lag, milliseconds(1500));
  EXPECT_EQ(state.stale_after, policy.max_gap());
  EXPECT_EQ(state.catch_up, milliseconds(1002));
  EXPECT_EQ(state.catch_up_remaining_bytes, 5000);
}

TEST(StateFromJson, KeepsUnknownUnknown) {
  Sample sample = pair_sample();
  sample.catch_up.reset();
  sample.replica = fakes::unseen("db2:5432");
  const ExporterState state = state_from_json(text_of(sample));
  EXPECT_FALSE(state.replica.reachable);
  EXPECT_EQ(state.replica.in_recovery, std::nullopt);
  EXPECT_EQ(state.replica.system_identifier, "");
  EXPECT_EQ(state.lag_bytes, std::nullopt);
  EXPECT_EQ(state.replay_lag, std::nullopt);
  EXPECT_EQ(state.catch_up, std::nullopt);
  EXPECT_EQ(state.catch_up_remaining_bytes, std::nullopt);
}

TEST(StateFromJson, RefusesWhatIsNoState) {
  const std::string good = text_of(pair_sample());
  EXPECT_NO_THROW(state_from_json(good));
  json without_sync = json::parse(good);
  without_sync.erase("sync");
  json wrong_type = json::parse(good);
  wrong_type["generation"] = "seven";
  for (const std::string& bad : {std::string(), std::string("[]"), std::string("<html>"),
                                 good.substr(0, good.size() / 2), without_sync.dump(), wrong_type.dump()}) {
    try {
      state_from_json(bad);
      ADD_FAILURE() << bad;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::http_failed);
    }
  }
}

}  // namespace
}  // namespace pgrm
