#include "exporter/gauges.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <ranges>
#include <set>

#include "tests/fakes/pair_sample.h"

namespace pgrm::exporter {
namespace {

using fakes::later;
using fakes::pair_sample;
using prometheus::MetricType;
using std::chrono::milliseconds;
using std::chrono::seconds;

const SyncPolicy policy{
    .thresholds = {.bytes = 2048, .seconds = milliseconds(1500)}, .required = 4, .interval = seconds(5)};

View view_of(const std::vector<Sample>& samples, Duration age = {}) {
  Observation observation(policy);
  for (const Sample& sample : samples) observation = observation.next(sample);
  const Mono at = observation.sample.sampled_mono;
  return {std::make_shared<const Observation>(std::move(observation)), at + age};
}

View nothing() { return {std::make_shared<const Observation>(policy), Mono{} + std::chrono::hours(1)}; }

/// `name{label="value",…}` -> value. Two series of the same name and labels fail the test: Prometheus would refuse the
/// whole page.
std::map<std::string, double> series(const View& view) {
  std::map<std::string, double> result;
  for (const auto& family : families(view)) {
    for (const auto& metric : family.metric) {
      std::string key = family.name;
      for (const auto& label : metric.label) {
        key += (key.back() == '"' ? "," : "{") + label.name + "=\"" + label.value + "\"";
      }
      if (!metric.label.empty()) key += "}";
      const double value = family.type == MetricType::Counter ? metric.counter.value : metric.gauge.value;
      EXPECT_TRUE(result.emplace(key, value).second) << "twice: " << key;
    }
  }
  return result;
}

std::size_t count_starting_with(const std::map<std::string, double>& all, const std::string& start) {
  return static_cast<std::size_t>(
      std::ranges::count_if(all, [&](const auto& entry) { return entry.first.starts_with(start); }));
}

/// The names in the first column of the catalogue.
std::vector<std::string> catalogue_names() {
  std::vector<std::string> names;
  for (const auto& row : catalogue().rows) names.push_back(row.front());
  return names;
}

Sample replica_missing() {
  Sample sample = pair_sample();
  sample.replica = fakes::unseen("db2:5432");
  sample.primary.state->standbys.clear();
  sample.primary.state->slots.front().active = false;
  return sample;
}

TEST(Catalogue, NamesFollowPrometheusRules) {
  const auto all = families(view_of({pair_sample()}));
  std::set<std::string> names;
  for (const auto& family : all) {
    EXPECT_TRUE(names.insert(family.name).second) << "twice: " << family.name;
    EXPECT_TRUE(family.name.starts_with("pgrm_")) << family.name;
    EXPECT_EQ(family.name.ends_with("_total"), family.type == MetricType::Counter) << family.name;
    EXPECT_EQ(family.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz_"), std::string::npos) << family.name;
    EXPECT_TRUE(family.help.ends_with(")")) << "no source: " << family.name;
    EXPECT_EQ(family.help.find_first_of("\\\n"), std::string::npos) << family.name;
  }
}

TEST(Catalogue, ListsEveryFamilyOnceAndInItsOrder) {
  std::vector<std::string> expected;
  for (const auto& family : families(nothing())) expected.push_back(family.name);
  EXPECT_EQ(catalogue_names(), expected);
}

TEST(Catalogue, LabelsAreThoseOfTheSeries) {
  std::map<std::string, std::string> labels;
  for (const auto& family : families(view_of({pair_sample()}))) {
    if (family.metric.empty()) continue;
    std::string names;
    for (const auto& label : family.metric.front().label) names += (names.empty() ? "" : ", ") + label.name;
    labels[family.name] = names;
  }
  std::size_t compared = 0;
  for (const auto& row : catalogue().rows) {
    const auto seen = labels.find(row[0]);
    if (seen == labels.end()) continue;
    EXPECT_EQ(row[2], seen->second) << row[0];
    ++compared;
  }
  EXPECT_EQ(compared, labels.size());
}

TEST(Gauges, AHealthyPairHasEveryMetric) {
  Sample sample = pair_sample();
  Slot& slot = sample.primary.state->slots.front();
  slot.confirmed_flush = fakes::here;  // logical slots only
  slot.inactive_since = from_unix(1'700'000'000);
  sample.replica.state->statistics->restartpoints = 4;
  sample.replica.state->statistics->upkeep.armed = "pgrm_20270115T080000Z_test";  // nobody has a fence otherwise
  for (const auto& family : families(view_of({sample}))) EXPECT_FALSE(family.metric.empty()) << family.name;
}

TEST(Gauges, ShowWhatWasSeen) {
  Sample sample = pair_sample();
  sample.primary.state->wal_flush = Lsn(fakes::here.bytes() + 300);
  sample.primary.state->standbys.front().replay_lag = milliseconds(20);
  sample.catch_up->took = milliseconds(12);
  const auto all = series(view_of({sample}, milliseconds(700)));
  EXPECT_EQ(all.at("pgrm_up{node=\"primary\"}"), 1);
  EXPECT_EQ(all.at("pgrm_observation_age_seconds{node=\"replica\"}"), 0.7);
  EXPECT_EQ(all.at("pgrm_in_recovery{node=\"primary\"}"), 0);
  EXPECT_EQ(all.at("pgrm_in_recovery{node=\"replica\"}"), 1);
  EXPECT_EQ(all.at("pgrm_wal_flush_lsn_bytes{node=\"primary\"}"), 0x3000148 + 300);
  EXPECT_EQ(all.at("pgrm_wal_replay_lsn_bytes{node=\"replica\"}"), 0x3000148);
  EXPECT_FALSE(all.contains("pgrm_wal_replay_lsn_bytes{node=\"primary\"}"));
  EXPECT_EQ(all.at("pgrm_pair_replay_lag_bytes"), 300);
  EXPECT_EQ(all.at("pgrm_pair_replay_lag_seconds"), 0.02);
  EXPECT_EQ(all.at("pgrm_pair_catch_up_seconds"), 0.012);
  EXPECT_EQ(all.at("pgrm_pair_catch_up_remaining_bytes"), 0);
  const std::string standby = "{node=\"primary\",standby=\"replica_slot\"";
  EXPECT_EQ(all.at("pgrm_standby_connected" + standby + "}"), 1);
  EXPECT_EQ(all.at("pgrm_standby_replay_lag_bytes" + standby + "}"), 300);
  EXPECT_EQ(all.at("pgrm_standby_replay_lag_seconds" + standby + "}"), 0.02);
  EXPECT_FALSE(all.contains("pgrm_standby_write_lag_seconds" + standby + "}")) << "NULL with bytes behind";
  EXPECT_EQ(all.at("pgrm_standby_state" + standby + ",state=\"streaming\"}"), 1);
  EXPECT_EQ(all.at("pgrm_standby_state" + standby + ",state=\"catchup\"}"), 0);
  const std::string slot = "{node=\"primary\",slot=\"replica_slot\",slot_type=\"physical\"";
  EXPECT_EQ(all.at("pgrm_slot_active" + slot + "}"), 1);
  EXPECT_EQ(all.at("pgrm_slot_retained_wal_bytes" + slot + "}"), 300);
  EXPECT_EQ(all.at("pgrm_slot_wal_status" + slot + ",wal_status=\"reserved\"}"), 1);
  EXPECT_EQ(all.at("pgrm_in_sync"), 1);
  EXPECT_EQ(all.at("pgrm_sync_checks_consecutive"), 1);
  EXPECT_EQ(all.at("pgrm_server_info{node=\"primary\",address=\"db1:5432\",version=\"15.4\",system_identifier="
                   "\"7300000000000000001\"}"),
            1);
}

TEST(Gauges, ABrokenQueryTakesOnlyItsOwnSeriesAlong) {
  Sample sample = pair_sample();
  sample.primary.state->statistics.reset();
  sample.primary.state->collectors[2].error = "permission denied";
  auto all = series(view_of({sample}));
  EXPECT_EQ(all.at("pgrm_up{node=\"primary\"}"), 1);
  EXPECT_EQ(all.at("pgrm_collector_success{node=\"primary\",collector=\"statistics\"}"), 0);
  EXPECT_EQ(all.at("pgrm_collector_success{node=\"primary\",collector=\"replication\"}"), 1);
  EXPECT_FALSE(all.contains("pgrm_prepared_transactions{node=\"primary\"}"));
  EXPECT_TRUE(all.contains("pgrm_prepared_transactions{node=\"replica\"}"));
  EXPECT_EQ(all.at("pgrm_in_sync"), 1) << "statistics decide nothing";

  sample.primary.state->replication_known = false;
  sample.primary.state->standbys.clear();
  sample.primary.state->slots.clear();
  all = series(view_of({pair_sample(), later(sample, seconds(5))}));
  EXPECT_EQ(all.at("pgrm_in_sync"), 0);
  EXPECT_EQ(all.at("pgrm_out_of_sync{reason=\"standby_unknown\"}"), 1);
  EXPECT_EQ(all.at("pgrm_out_of_sync{reason=\"no_standby\"}"), 0);
  EXPECT_EQ(all.at("pgrm_pair_replay_lag_bytes"), 0) << "measured at both ends";
  EXPECT_EQ(count_starting_with(all, "pgrm_standby_"), 0U) << "unknown, not 0";
}

TEST(Gauges, NoTransactionAndNoArchivingIsZeroAndNotAbsent) {
  Sample sample = pair_sample();
  sample.primary.state->statistics->oldest_transaction.reset();
  sample.primary.state->statistics->oldest_idle_in_transaction.reset();
  const auto all = series(view_of({sample}));
  EXPECT_EQ(all.at("pgrm_oldest_transaction_start_timestamp_seconds{node=\"primary\"}"), 0);
  EXPECT_EQ(all.at("pgrm_oldest_idle_in_transaction_start_timestamp_seconds{node=\"primary\"}"), 0);
  EXPECT_EQ(all.at("pgrm_archiver_last_failed_timestamp_seconds{node=\"primary\"}"), 0);
  EXPECT_EQ(all.at("pgrm_oldest_transaction_start_timestamp_seconds{node=\"replica\"}"), 1'699'999'990);
}

TEST(Gauges, WhatAVersionHasNotIsAbsent) {
  Sample sample = pair_sample();
  Statistics& old = *sample.primary.state->statistics;
  old.wal_bytes = old.wal_records = old.wal_fpi = std::nullopt;  // 13
  const auto all = series(view_of({sample}));
  EXPECT_FALSE(all.contains("pgrm_wal_generated_bytes_total{node=\"primary\"}"));
  EXPECT_FALSE(all.contains("pgrm_restartpoints_total{node=\"primary\"}"));
  EXPECT_FALSE(all.contains("pgrm_recovery_conflicts_total{node=\"primary\",reason=\"logical_slot\"}"));
  EXPECT_EQ(all.at("pgrm_recovery_conflicts_total{node=\"primary\",reason=\"snapshot\"}"), 0);
}

TEST(Gauges, CarryTheOperatorsThresholds) {
  const auto all = series(nothing());
  EXPECT_EQ(all.at("pgrm_lag_threshold_bytes"), 2048);
  EXPECT_EQ(all.at("pgrm_lag_threshold_seconds"), 1.5);
  EXPECT_EQ(all.at("pgrm_sync_checks_required"), 4);
  EXPECT_EQ(all.at("pgrm_observation_interval_seconds"), 5);
}

TEST(Gauges, CountersAndReasonsAreThereFromTheStart) {
  const auto all = series(nothing());
  EXPECT_EQ(all.at("pgrm_up{node=\"primary\"}"), 0);
  EXPECT_EQ(all.at("pgrm_in_sync"), 0);
  EXPECT_EQ(all.at("pgrm_sync_checks_total"), 0);
  EXPECT_EQ(all.at("pgrm_observations_total{node=\"replica\"}"), 0);
  for (const char* const reason : sync_reason_names) {
    const std::string label = "{reason=\"" + std::string(reason) + "\"}";
    EXPECT_EQ(all.at("pgrm_sync_check_failures_total" + label), 0);
    EXPECT_EQ(all.at("pgrm_out_of_sync" + label), 0);
  }
  for (const char* const reason : {"unreachable", "timeout", "authentication", "permission_denied"}) {
    EXPECT_EQ(all.at("pgrm_observation_errors_total{node=\"primary\",reason=\"" + std::string(reason) + "\"}"), 0);
  }
  EXPECT_FALSE(all.contains("pgrm_observation_age_seconds{node=\"primary\"}"));
  EXPECT_FALSE(all.contains("pgrm_pair_replay_lag_bytes"));
}

TEST(Gauges, AServerThatIsDownTakesOnlyItsOwnSeriesAlong) {
  const Sample good = pair_sample();
  const auto before = series(view_of({good}));
  Sample down = later(good, seconds(5));
  down.replica = fakes::unseen("db2:5432");
  const auto all = series(view_of({good, down}));
  EXPECT_EQ(all.at("pgrm_up{node=\"replica\"}"), 0);
  EXPECT_EQ(all.at("pgrm_up{node=\"primary\"}"), 1);
  EXPECT_EQ(all.at("pgrm_observation_errors_total{node=\"replica\",reason=\"unreachable\"}"), 1);
  EXPECT_EQ(all.at("pgrm_observation_age_seconds{node=\"replica\"}"), 5) << "since it was last seen";
  EXPECT_EQ(all.at("pgrm_observation_age_seconds{node=\"primary\"}"), 0);
  EXPECT_EQ(all.at("pgrm_out_of_sync{reason=\"replica_unreachable\"}"), 1);
  EXPECT_EQ(all.at("pgrm_in_sync"), 0);
  EXPECT_FALSE(all.contains("pgrm_pair_replay_lag_bytes"));
  EXPECT_FALSE(all.contains("pgrm_in_recovery{node=\"replica\"}"));
  const auto is_primarys = [](const auto& entry) { return entry.first.find("node=\"primary\"") != std::string::npos; };
  for (const auto& [key, value] : before | std::views::filter(is_primarys)) EXPECT_TRUE(all.contains(key)) << key;
}

TEST(Gauges, AnOldObservationIsNoLongerShownAsIfItWereSo) {
  const auto all = series(view_of({pair_sample()}, policy.max_gap() + milliseconds(1)));
  EXPECT_EQ(all.at("pgrm_up{node=\"primary\"}"), 0);
  EXPECT_EQ(all.at("pgrm_in_sync"), 0);
  EXPECT_EQ(all.at("pgrm_sync_checks_consecutive"), 0);
  EXPECT_EQ(all.at("pgrm_out_of_sync{reason=\"gap\"}"), 1);
  EXPECT_GT(all.at("pgrm_observation_age_seconds{node=\"primary\"}"), 11);
  EXPECT_EQ(count_starting_with(all, "pgrm_in_recovery"), 0U);
  EXPECT_EQ(count_starting_with(all, "pgrm_standby"), 0U);
  EXPECT_EQ(count_starting_with(all, "pgrm_pair"), 0U);
}

TEST(Gauges, TheConfiguredReplicaIsListedWhileItIsMissing) {
  for (const auto& samples : {std::vector{pair_sample(), replica_missing()}, std::vector{replica_missing()}}) {
    const auto all = series(view_of(samples));
    const std::string standby = "{node=\"primary\",standby=\"replica_slot\"";
    EXPECT_EQ(all.at("pgrm_standby_connected" + standby + "}"), 0);
    EXPECT_EQ(all.at("pgrm_standby_lag_known" + standby + "}"), 0);
    for (const char* const state : {"startup", "catchup", "streaming", "backup", "stopping"}) {
      EXPECT_EQ(all.at("pgrm_standby_state" + standby + ",state=\"" + state + "\"}"), 0);
    }
    EXPECT_FALSE(all.contains("pgrm_standby_replay_lag_bytes" + standby + "}"));
    EXPECT_EQ(all.at("pgrm_slot_active{node=\"primary\",slot=\"replica_slot\",slot_type=\"physical\"}"), 0);
  }
}

TEST(Gauges, AReplicaWhoseNameIsNotKnownIsCalledReplica) {
  Sample sample = replica_missing();
  sample.primary.state->slots.clear();
  EXPECT_EQ(series(view_of({sample})).at("pgrm_standby_connected{node=\"primary\",standby=\"replica\"}"), 0);
}

TEST(Gauges, AReplicaIsNotMissingWhereAnyOfTwoRowsMayBeIt) {
  Sample sample = pair_sample();
  sample.replica.state->receiver->slot.clear();
  sample.primary.state->standbys = {fakes::standby_row("walreceiver", std::nullopt),
                                    fakes::standby_row("pg_receivewal", std::nullopt)};
  const auto all = series(view_of({sample}));
  EXPECT_EQ(count_starting_with(all, "pgrm_standby_connected"), 2U);
}

TEST(Gauges, AFormerPrimaryMissesNoStandbyWhenTheNewOneIsGone) {
  Sample sample = fakes::sample_after_cutover();
  sample.replica = fakes::unseen("db2:5432");
  EXPECT_EQ(count_starting_with(series(view_of({sample})), "pgrm_standby_connected"), 0U);
}

TEST(Gauges, AnotherStandbyThatVanishesLeavesNothingBehind) {
  Sample two = pair_sample();
  two.primary.state->standbys.push_back(fakes::standby_row("other", std::nullopt));
  EXPECT_GT(count_starting_with(series(view_of({two})), "pgrm_standby_connected"), 1U);
  const auto all = series(view_of({two, pair_sample()}));
  EXPECT_EQ(count_starting_with(all, "pgrm_standby_connected"), 1U);
}

TEST(Gauges, AThousandReconnectsAddNoSeries) {
  const auto names = [](const View& view) {
    std::set<std::string> result;
    for (const auto& [name, value] : series(view)) result.insert(name);
    return result;
  };
  Sample sample = pair_sample();
  Observation observation = Observation(policy).next(sample);
  const auto look = [&](Sample next) {
    sample = later(std::move(next), seconds(1));
    observation = observation.next(sample);
    return names({std::make_shared<const Observation>(observation), sample.sampled_mono});
  };
  const auto connected = look(pair_sample());
  const auto away = look(replica_missing());
  for (int i = 0; i < 1000; ++i) {
    Sample back = pair_sample();
    back.replica.state->receiver->sender_host = "10.0.0." + std::to_string(i % 2);  // of an _info, with one series
    back.primary.state->standbys.front().reply_time = from_unix(1'700'000'000 + i);
    back.sampled_mono = sample.sampled_mono;
    const auto again = look(std::move(back));
    EXPECT_EQ(again.size(), connected.size());
    Sample gone = replica_missing();
    gone.sampled_mono = sample.sampled_mono;
    EXPECT_EQ(look(std::move(gone)), away);
    if (testing::Test::HasFailure()) break;
  }
}

TEST(Gauges, StandbysOfTheSameNameStayApart) {
  Sample sample = pair_sample();
  for (int i = 0; i < 3; ++i) sample.primary.state->standbys.push_back(fakes::standby_row("walreceiver", std::nullopt));
  sample.primary.state->standbys.push_back(fakes::standby_row("walreceiver#2", std::nullopt));
  sample.primary.state->standbys.push_back(fakes::standby_row("", std::nullopt));
  const auto all = series(view_of({sample}));  // fails for two series of the same labels
  EXPECT_EQ(count_starting_with(all, "pgrm_standby_connected"), 6U);
  EXPECT_TRUE(all.contains("pgrm_standby_connected{node=\"primary\",standby=\"walreceiver\"}"));
  EXPECT_TRUE(all.contains("pgrm_standby_connected{node=\"primary\",standby=\"walreceiver#3\"}"));
  EXPECT_TRUE(all.contains("pgrm_standby_connected{node=\"primary\",standby=\"unnamed\"}"));
}

TEST(Gauges, WithoutPgMonitorHiddenIsUnknownAndNotZero) {
  Sample sample = pair_sample();
  Standby hidden;
  hidden.name = "replica_slot";
  hidden.application_name = "replica";
  hidden.slot = "replica_slot";
  sample.primary.state->standbys = {hidden};
  sample.primary.state->full_view = false;
  sample.replica.state->receiver = std::nullopt;
  sample.replica.state->full_view = false;
  const auto all = series(view_of({sample}));
  EXPECT_EQ(all.at("pgrm_in_sync"), 0);
  EXPECT_EQ(all.at("pgrm_out_of_sync{reason=\"missing_privilege\"}"), 1);
  EXPECT_EQ(all.at("pgrm_full_view{node=\"replica\"}"), 0);
  EXPECT_EQ(all.at("pgrm_standby_connected{node=\"primary\",standby=\"replica_slot\"}"), 1);
  EXPECT_EQ(count_starting_with(all, "pgrm_standby_state"), 0U);
  EXPECT_EQ(count_starting_with(all, "pgrm_standby_replay_lag_bytes"), 0U);
  EXPECT_EQ(count_starting_with(all, "pgrm_wal_receiver_up"), 0U);
  EXPECT_EQ(count_starting_with(all, "pgrm_wal_receiver_status"), 0U);
}

TEST(Gauges, AReadOnlyServerThatIsHiddenIsUnknownAndNotZero) {
  Sample sample = pair_sample();
  sample.primary.state->read_only_hidden_by = "role monitor";
  const auto all = series(view_of({sample}));
  EXPECT_EQ(count_starting_with(all, "pgrm_read_only{node=\"primary\"}"), 0U);
  EXPECT_EQ(all.at("pgrm_read_only{node=\"replica\"}"), 0);
  EXPECT_EQ(all.at("pgrm_out_of_sync{reason=\"read_only_unknown\"}"), 1);
}

TEST(Gauges, ACutLinkIsSeenThoughReceivedIsReplayed) {
  Sample sample = pair_sample();
  constexpr double behind = 19.0 * 1024 * 1024;
  sample.primary.state->wal_flush = Lsn(fakes::here.bytes() + static_cast<std::uint64_t>(behind));
  sample.primary.state->standbys.clear();
  sample.replica.state->receiver = std::nullopt;
  const auto all = series(view_of({pair_sample(), sample}));
  EXPECT_EQ(all.at("pgrm_pair_receive_lag_bytes"), behind);
  EXPECT_EQ(all.at("pgrm_pair_replay_lag_bytes"), behind);
  EXPECT_EQ(all.at("pgrm_wal_receiver_up{node=\"replica\"}"), 0);
  EXPECT_EQ(all.at("pgrm_wal_receiver_status{node=\"replica\",status=\"streaming\"}"), 0);
  EXPECT_EQ(all.at("pgrm_standby_connected{node=\"primary\",standby=\"replica_slot\"}"), 0);
  EXPECT_EQ(all.at("pgrm_in_sync"), 0);
}

TEST(Gauges, AnIdlePrimaryIsZeroBehindHoweverOldItsLastCommit) {
  Sample sample = pair_sample();
  sample.replica.state->last_replayed_commit = from_unix(1'600'000'000);
  const auto all = series(view_of({sample}));
  EXPECT_EQ(all.at("pgrm_pair_replay_lag_seconds"), 0);
  EXPECT_EQ(all.at("pgrm_standby_replay_lag_seconds{node=\"primary\",standby=\"replica_slot\"}"), 0);
  EXPECT_EQ(all.at("pgrm_replay_last_commit_timestamp_seconds{node=\"replica\"}"), 1'600'000'000);
  EXPECT_EQ(all.at("pgrm_in_sync"), 1);
}

TEST(Gauges, TellThePlainTruthAfterTheCutover) {
  const auto all = series(view_of({pair_sample(), later(fakes::sample_after_cutover(), seconds(5))}));
  EXPECT_EQ(all.at("pgrm_in_recovery{node=\"primary\"}"), 0);
  EXPECT_EQ(all.at("pgrm_read_only{node=\"primary\"}"), 1);
  EXPECT_EQ(all.at("pgrm_in_recovery{node=\"replica\"}"), 0);
  EXPECT_EQ(all.at("pgrm_read_only{node=\"replica\"}"), 0);
  EXPECT_EQ(all.at("pgrm_timeline_id{node=\"primary\"}"), 1);
  EXPECT_EQ(all.at("pgrm_timeline_id{node=\"replica\"}"), 2);
  EXPECT_EQ(all.at("pgrm_in_sync"), 0);
  EXPECT_EQ(all.at("pgrm_out_of_sync{reason=\"roles\"}"), 1);
  EXPECT_EQ(count_starting_with(all, "pgrm_pair_"), 0U) << "unknown, not negative and not huge";
  EXPECT_EQ(count_starting_with(all, "pgrm_standby_"), 0U) << "nothing is a standby";
  EXPECT_EQ(count_starting_with(all, "pgrm_wal_receiver_"), 0U);
}

}  // namespace
}  // namespace pgrm::exporter
