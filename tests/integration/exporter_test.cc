// The exporter on a real pair: the traps that a fake cannot set.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include "core/base/error.h"
#include "core/base/wait.h"
#include "core/http/client.h"
#include "core/http/server.h"
#include "core/pg/session.h"
#include "exporter/gauges.h"
#include "exporter/options.h"
#include "exporter/pages.h"
#include "exporter/sampler.h"
#include "tests/integration/lab_pair.h"

namespace pgrm::exporter {
namespace {

constexpr auto soon = std::chrono::seconds(20);
constexpr auto tick = std::chrono::milliseconds(20);

const SyncPolicy policy{.thresholds = {}, .required = 3, .interval = std::chrono::milliseconds(200)};

using Series = std::map<std::string, double>;

Series series(const View& view) {
  Series result;
  for (const auto& family : families(view)) {
    for (const auto& metric : family.metric) {
      std::string key = family.name;
      for (const auto& label : metric.label) {
        key += (key.back() == '"' ? "," : "{") + label.name + "=\"" + label.value + "\"";
      }
      if (!metric.label.empty()) key += "}";
      const bool counts = family.type == prometheus::MetricType::Counter;
      EXPECT_TRUE(result.emplace(key, counts ? metric.counter.value : metric.gauge.value).second) << "twice: " << key;
    }
  }
  return result;
}

std::set<std::string> names(const Series& all) {
  std::set<std::string> result;
  for (const auto& [key, value] : all) result.insert(key);
  return result;
}

/// As one word of a shell.
std::string quoted(const std::string& text) {
  EXPECT_EQ(text.find('\''), std::string::npos) << text;
  return "'" + text + "'";
}

/// A superuser's session, for what happens to a server.
class Operator {
 public:
  explicit Operator(const Conninfo& server) : session_(server, "operator") { session_.open(soon); }
  Rows run(const std::string& sql) { return session_.script(sql, soon); }
  /// nullopt: resets it.
  void set(const std::string& setting, const std::optional<std::string>& value) {
    run("ALTER SYSTEM " + (value ? "SET " + setting + " = " + literal(*value) : "RESET " + setting));
    run("SELECT pg_reload_conf()");
  }
  /// Writes WAL that is not a transaction, and flushes it.
  void write_wal(int bytes) {
    run("SELECT pg_logical_emit_message(false, 'exporter_test', repeat('x', " + std::to_string(bytes) + "))");
    run("CHECKPOINT");
  }
  std::string value(const std::string& sql) {
    return run("SELECT (" + sql + ")::text AS value").one().text("value").value();
  }
  std::string bin(const std::string& program) {
    return value("SELECT setting FROM pg_config WHERE name = 'BINDIR'") + "/" + program;
  }
  /// Starts shell commands as the server's user, in a session of their own: the server ends what its backends started.
  void start(const std::string& commands) {
    run("COPY (SELECT 1) TO PROGRAM " +
        literal("cat >/dev/null; setsid sh -c " + quoted(commands) + " >/dev/null 2>&1 &"));
  }
  std::string literal(const std::string& text) { return session_.quote_literal(text); }

 private:
  Session session_;
};

class ExporterTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(comes(in_sync)) << reasons(); }

  static bool in_sync(const View& view) { return view.streak().in_sync(); }

  /// Observes until `condition` holds of what is seen.
  template <class Condition>
  bool comes(Condition condition) {
    return wait_until(system_clock(), soon, tick, {}, [&] {
             sampler_.round();
             return condition(sampler_.view());
           }) == WaitEnd::reached;
  }

  /// For failure messages.
  std::string reasons() const {
    const View view = sampler_.view();
    std::string text;
    for (const SyncReason& reason : view.streak().reasons()) text += reason.name + ": " + reason.text + "\n";
    return text;
  }

  Sampler make_sampler(const std::string& role) {
    const Pair pair = LabPair::get().as(role, "postgres");
    return {observer_of(pair.primary), observer_of(pair.replica), policy, system_clock(), pool_};
  }

  static bool has_reason(const View& view, std::string_view name) {
    return std::ranges::any_of(view.streak().reasons(), [name](const auto& reason) { return reason.name == name; });
  }

  Pair superuser_ = LabPair::get().as("postgres", "postgres");
  Operator primary_{superuser_.primary};
  Operator replica_{superuser_.replica};
  Pool pool_;
  Sampler sampler_ = make_sampler("pgrm_monitor");
};

TEST_F(ExporterTest, AHealthyPairIsInSyncAndHasItsMetrics) {
  ASSERT_TRUE(comes([](const View& view) { return view.streak().consecutive() >= 3; })) << reasons();
  const Series all = series(sampler_.view());
  EXPECT_EQ(all.at("pgrm_up{node=\"primary\"}"), 1);
  EXPECT_EQ(all.at("pgrm_in_recovery{node=\"replica\"}"), 1);
  EXPECT_EQ(all.at("pgrm_standby_state{node=\"primary\",standby=\"replica_slot\",state=\"streaming\"}"), 1);
  EXPECT_EQ(all.at("pgrm_slot_active{node=\"primary\",slot=\"replica_slot\",slot_type=\"physical\"}"), 1);
  EXPECT_EQ(all.at("pgrm_wal_receiver_up{node=\"replica\"}"), 1);
  EXPECT_GE(all.at("pgrm_sync_checks_consecutive"), 3);
}

TEST_F(ExporterTest, PromtoolHasNoComplaintAboutThePage) {
  const std::string page = LabPair::get().home() + "/metrics";
  std::ofstream(page) << metrics_response(sampler_.view()).body;
  EXPECT_EQ(std::system(("promtool check metrics <" + page).c_str()), 0)  // NOLINT(cert-env33-c)
      << "promtool comes with Debian's package prometheus";
}

TEST_F(ExporterTest, EveryCollectorSucceedsAsPgMonitor) {
  for (const Side side : both_sides) {
    const ServerState* const state = sampler_.view().server(side);
    ASSERT_NE(state, nullptr);
    ASSERT_EQ(state->collectors.size(), 4U) << "three statements, and one once a minute";
    for (const Collector& collector : state->collectors) EXPECT_EQ(collector.error, "") << collector.name;
  }
  const Series all = series(sampler_.view());
  EXPECT_EQ(all.at("pgrm_accepting_connections{node=\"primary\"}"), 1);
  EXPECT_EQ(all.at("pgrm_recovery_min_apply_delay_seconds{node=\"replica\"}"), 0);
  EXPECT_EQ(all.at("pgrm_recovery_conflicts_total{node=\"replica\",reason=\"snapshot\"}"), 0);
}

TEST_F(ExporterTest, WhatWouldDisturbACutoverIsSeen) {
  Session client(superuser_.primary, "slow client");
  client.open(soon);
  const double begun = std::stod(primary_.value("extract(epoch FROM now())"));
  client.script("BEGIN; SELECT 1", soon);
  ASSERT_TRUE(comes([&](const View& view) {
    return series(view).at("pgrm_connections{node=\"primary\",state=\"idle in transaction\"}") >= 1;
  }));
  const Series all = series(sampler_.view());
  EXPECT_GE(all.at("pgrm_oldest_transaction_start_timestamp_seconds{node=\"primary\"}"), begun - 60);
  EXPECT_GE(all.at("pgrm_oldest_idle_in_transaction_start_timestamp_seconds{node=\"primary\"}"), begun);
  client.script("ROLLBACK", soon);
  EXPECT_TRUE(comes([&](const View& view) {
    return series(view).at("pgrm_oldest_idle_in_transaction_start_timestamp_seconds{node=\"primary\"}") == 0;
  })) << "none is 0";

  replica_.set("recovery_min_apply_delay", "90s");
  EXPECT_TRUE(comes([](const View& view) {
    return series(view).at("pgrm_recovery_min_apply_delay_seconds{node=\"replica\"}") == 90;
  }));
  replica_.set("recovery_min_apply_delay", std::nullopt);
  EXPECT_TRUE(comes(in_sync)) << reasons();
}

TEST_F(ExporterTest, ALockOnACatalogHidesOnlyWhatItBlocks) {
  Operator locker(superuser_.primary);
  locker.run("BEGIN; LOCK TABLE pg_catalog.pg_database IN ACCESS EXCLUSIVE MODE");
  sampler_.round();
  const Series all = series(sampler_.view());
  EXPECT_EQ(all.at("pgrm_up{node=\"primary\"}"), 1);
  EXPECT_EQ(all.at("pgrm_collector_success{node=\"primary\",collector=\"server\"}"), 1);
  EXPECT_EQ(all.at("pgrm_collector_success{node=\"primary\",collector=\"statistics\"}"), 0);
  EXPECT_TRUE(all.contains("pgrm_pair_replay_lag_bytes"));
  EXPECT_FALSE(all.contains("pgrm_prepared_transactions{node=\"primary\"}"));
  EXPECT_EQ(all.at("pgrm_up{node=\"replica\"}"), 1);
  locker.run("ROLLBACK");
  EXPECT_TRUE(comes([](const View& view) {
    return series(view).at("pgrm_collector_success{node=\"primary\",collector=\"statistics\"}") == 1 && in_sync(view);
  })) << reasons();
}

TEST_F(ExporterTest, ScrapersDoNotChangeWhenTheServersAreLookedAt) {
  Sampler sampler = make_sampler("pgrm_monitor");
  http::Server server("127.0.0.1:0");
  add_pages(server, [&sampler] { return sampler.view(); });
  server.start();
  const auto begun = std::chrono::steady_clock::now();
  sampler.start();
  const auto generation = [&sampler] { return sampler.latest()->sample.generation; };
  const auto reaches = [&](std::uint64_t wanted) {
    return wait_until(system_clock(), soon, tick, {}, [&] { return generation() >= wanted; }) == WaitEnd::reached;
  };
  ASSERT_TRUE(reaches(3)) << "with no scraper at all";
  std::vector<std::jthread> scrapers;
  for (int i = 0; i < 2; ++i) {
    scrapers.emplace_back([&](const std::stop_token& stop) {
      const auto client = http::make_client("http://127.0.0.1:" + std::to_string(server.port()));
      while (!stop.stop_requested())
        EXPECT_NE(http::get_ok(*client, "/metrics", soon).find("\npgrm_in_sync "), std::string::npos);
    });
  }
  EXPECT_TRUE(reaches(generation() + 5));
  scrapers.clear();
  const auto last = sampler.latest();
  EXPECT_EQ(last->streak.checks(), last->sample.generation) << "every look is a check, and nothing else is";
  EXPECT_LE(last->sample.generation, (std::chrono::steady_clock::now() - begun) / policy.interval + 1)
      << "nor one too many";
}

TEST_F(ExporterTest, AnIdlePairIsZeroSecondsBehind) {
  // pg_stat_replication's lag times turn NULL a while after the last write.
  ASSERT_TRUE(comes([](const View& view) {
    const Standby* const row = paired_standby(view.sample());
    return row != nullptr && !row->replay_lag && pair_lag(view.sample()).replay_bytes == 0;
  }));
  const Series all = series(sampler_.view());
  EXPECT_EQ(all.at("pgrm_pair_replay_lag_seconds"), 0);
  EXPECT_EQ(all.at("pgrm_standby_replay_lag_seconds{node=\"primary\",standby=\"replica_slot\"}"), 0);
  EXPECT_EQ(all.at("pgrm_standby_lag_known{node=\"primary\",standby=\"replica_slot\"}"), 1);
}

TEST_F(ExporterTest, ACutLinkIsNotHiddenByReceivedEqualsReplayed) {
  const std::string good = replica_.value("current_setting('primary_conninfo')");
  replica_.set("primary_conninfo", "host=127.0.0.1 port=1");
  ASSERT_TRUE(comes([](const View& view) { return has_reason(view, "no_standby"); })) << reasons();
  primary_.write_wal(3'000'000);
  ASSERT_TRUE(comes([](const View& view) { return has_reason(view, "lag_bytes"); })) << reasons();

  EXPECT_EQ(replica_.value("pg_last_wal_receive_lsn()"), replica_.value("pg_last_wal_replay_lsn()")) << "the trap";
  const Series all = series(sampler_.view());
  EXPECT_GT(all.at("pgrm_pair_receive_lag_bytes"), 3000000);
  EXPECT_GT(all.at("pgrm_pair_replay_lag_bytes"), 3000000);
  EXPECT_EQ(all.at("pgrm_wal_receiver_up{node=\"replica\"}"), 0);
  EXPECT_EQ(all.at("pgrm_standby_connected{node=\"primary\",standby=\"replica_slot\"}"), 0);
  EXPECT_EQ(all.at("pgrm_standby_state{node=\"primary\",standby=\"replica_slot\",state=\"streaming\"}"), 0);
  EXPECT_GT(all.at("pgrm_slot_retained_wal_bytes{node=\"primary\",slot=\"replica_slot\",slot_type=\"physical\"}"),
            3000000);

  replica_.set("primary_conninfo", good);
  EXPECT_TRUE(comes(in_sync)) << reasons();
}

TEST_F(ExporterTest, ReplayThatIsPausedIsSeen) {
  replica_.run("SELECT pg_wal_replay_pause()");
  EXPECT_TRUE(comes([](const View& view) { return has_reason(view, "replay_paused"); })) << reasons();
  replica_.run("SELECT pg_wal_replay_resume()");
  EXPECT_TRUE(comes(in_sync)) << reasons();
}

/// What the replica lags by says why, by the second check at the latest.
TEST_F(ExporterTest, ReplayThatIsHeldBackIsNeverInSyncAndSaysWhy) {
  replica_.set("recovery_min_apply_delay", "1h");
  primary_.run("CREATE TABLE held_back (i int)");
  // The startup process has the delay in its own time.
  ASSERT_TRUE(comes([this](const View& view) {
    primary_.run("INSERT INTO held_back SELECT generate_series(1, 1000)");
    return !in_sync(view);
  }));
  sampler_.round();
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(in_sync(sampler_.view()));
    EXPECT_TRUE(has_reason(sampler_.view(), "lag_bytes"));
    EXPECT_NE(reasons().find("recovery_min_apply_delay (3600 s) holds replay back"), std::string::npos) << reasons();
    EXPECT_NE(reasons().find("the replica replays"), std::string::npos) << reasons();
    sampler_.round();
  }
  const Series all = series(sampler_.view());
  EXPECT_GE(all.at("pgrm_pair_catch_up_seconds"), 1);
  EXPECT_GT(all.at("pgrm_pair_catch_up_remaining_bytes"), 1024);
  replica_.set("recovery_min_apply_delay", std::nullopt);
  EXPECT_TRUE(comes(in_sync)) << reasons();
  primary_.run("DROP TABLE held_back");
}

TEST_F(ExporterTest, AQueryThatHoldsUpReplayIsNamed) {
  primary_.run("CREATE TABLE held_up AS SELECT generate_series(1, 1000) AS i");
  ASSERT_TRUE(comes([this](const View& view) {
    return in_sync(view) && replica_.value("to_regclass('held_up')::text IS NOT NULL") == "true";
  }));
  replica_.set("max_standby_streaming_delay", "-1");
  Session reader(superuser_.replica, "long query");
  reader.open(soon);
  reader.script("BEGIN; SELECT count(*) FROM held_up", soon);
  primary_.run("TRUNCATE held_up");
  primary_.run("INSERT INTO held_up SELECT generate_series(1, 10000)");
  sampler_.round();
  sampler_.round();
  EXPECT_NE(reasons().find("replay waits for a query on the replica to end"), std::string::npos) << reasons();
  EXPECT_NE(reasons().find("process " + std::to_string(reader.backend_pid()) + ","), std::string::npos) << reasons();
  reader.script("ROLLBACK", soon);
  replica_.set("max_standby_streaming_delay", std::nullopt);
  EXPECT_TRUE(comes(in_sync)) << reasons();
  primary_.run("DROP TABLE held_up");
}

TEST_F(ExporterTest, ReplayInBurstsIsNeverInSync) {
  replica_.run("SELECT pg_wal_replay_pause()");
  primary_.run("CREATE TABLE bursts AS SELECT repeat('x', 1000) AS t FROM generate_series(1, 50000)");
  std::jthread bursts([this](const std::stop_token& stop) {
    Operator throttle(superuser_.replica);
    while (!stop.stop_requested()) {
      throttle.run("SELECT pg_wal_replay_resume(); SELECT pg_wal_replay_pause()");
      system_clock().sleep_for(std::chrono::milliseconds(250), stop);
    }
    throttle.run("SELECT pg_wal_replay_resume()");
  });
  for (int check = 0; check < 4; ++check) {
    // What a burst has replayed, a new one is behind by.
    primary_.run("INSERT INTO bursts SELECT repeat('x', 1000) FROM generate_series(1, 20000)");
    sampler_.round();
    EXPECT_FALSE(in_sync(sampler_.view()));
    EXPECT_TRUE(has_reason(sampler_.view(), "lag_bytes") || has_reason(sampler_.view(), "replay_paused")) << reasons();
  }
  bursts = {};
  EXPECT_TRUE(comes(in_sync)) << reasons();
  primary_.run("DROP TABLE bursts");
}

TEST_F(ExporterTest, AReplicaThatKeepsUpIsInSyncWhileMuchIsWritten) {
  primary_.run("CREATE TABLE busy (t text)");
  std::jthread writer([this](const std::stop_token& stop) {
    Operator client(superuser_.primary);
    while (!stop.stop_requested()) client.run("INSERT INTO busy SELECT repeat('x', 100) FROM generate_series(1, 20)");
  });
  std::int64_t farthest = 0;
  int good = 0;
  for (int check = 0; check < 100; ++check) {
    sampler_.round();
    farthest = std::max(farthest, pair_lag(sampler_.view().sample()).replay_bytes.value_or(0));
    good += in_sync(sampler_.view()) ? 1 : 0;
  }
  writer = {};
  EXPECT_GE(good, 99) << reasons();
  EXPECT_GT(farthest, policy.thresholds.bytes) << "or nothing was proven";
  primary_.run("DROP TABLE busy");
}

TEST_F(ExporterTest, ReconnectsOfTheStandbyAddNoSeries) {
  replica_.set("wal_retrieve_retry_interval", "1ms");
  ASSERT_TRUE(comes(in_sync)) << reasons();
  const auto before = names(series(sampler_.view()));
  for (int i = 0; i < 25; ++i) {
    const std::string pid = primary_.value("SELECT max(pid) FROM pg_stat_replication");
    primary_.run("SELECT pg_terminate_backend(" + pid + ")");
    ASSERT_TRUE(comes([&](const View& view) {
      return in_sync(view) && primary_.value("SELECT coalesce(max(pid), " + pid + ") FROM pg_stat_replication") != pid;
    })) << reasons();
  }
  // Lag in seconds is absent while WAL is on its way.
  EXPECT_TRUE(comes([&](const View& view) { return names(series(view)) == before; }));
  replica_.set("wal_retrieve_retry_interval", std::nullopt);
}

TEST_F(ExporterTest, StandbysOfTheSameNameStayApartAndAreNotTakenForTheReplica) {
  const std::string receive = "d=$(mktemp -d); " + primary_.bin("pg_receivewal") + " --no-loop -h $(echo " +
                              primary_.value("current_setting('unix_socket_directories')") + " | cut -d, -f1) -p " +
                              primary_.value("current_setting('port')") + " -U postgres -D $d; rm -r $d";
  primary_.start(receive);
  primary_.start(receive);
  const auto listed = [](const View& view, const std::string& name) {
    return series(view).contains("pgrm_standby_connected{node=\"primary\",standby=\"" + name + "\"}");
  };
  EXPECT_TRUE(
      comes([&](const View& view) { return listed(view, "pg_receivewal") && listed(view, "pg_receivewal#2"); }));
  EXPECT_TRUE(in_sync(sampler_.view())) << reasons();
  EXPECT_EQ(sampler_.latest()->replica_standby, "replica_slot");

  primary_.run("SELECT pg_terminate_backend(pid) FROM pg_stat_replication WHERE application_name = 'pg_receivewal'");
  EXPECT_TRUE(comes([&](const View& view) { return !listed(view, "pg_receivewal"); }));
}

TEST_F(ExporterTest, WithoutPgMonitorItSaysSoAndKnowsNothing) {
  Sampler blind = make_sampler("pgrm_app");
  blind.round();
  const View view = blind.view();
  EXPECT_TRUE(has_reason(view, "missing_privilege"));
  EXPECT_FALSE(in_sync(view));
  const Series all = series(view);
  EXPECT_EQ(all.at("pgrm_full_view{node=\"primary\"}"), 0);
  EXPECT_EQ(all.at("pgrm_standby_connected{node=\"primary\",standby=\"replica_slot\"}"), 1);
  EXPECT_FALSE(all.contains("pgrm_standby_state{node=\"primary\",standby=\"replica_slot\",state=\"streaming\"}"));
  EXPECT_FALSE(all.contains("pgrm_wal_receiver_up{node=\"replica\"}"));
}

TEST_F(ExporterTest, AReadOnlyServerIsNotMistakenForARoleOrADatabaseThatIs) {
  const auto hidden = [](const View& view) {
    return has_reason(view, "read_only_unknown") && view.server(Side::replica) != nullptr &&
           !read_only(*view.server(Side::replica));
  };
  for (const std::string whose : {"ROLE pgrm_monitor", "DATABASE postgres", "ROLE pgrm_monitor IN DATABASE postgres"}) {
    primary_.run("ALTER " + whose + " SET default_transaction_read_only = on");
    // A session has what it was given when it logged in: on the replica, only one that begins after the replay.
    const auto replayed = [&] {
      Sampler fresh = make_sampler("pgrm_monitor");
      fresh.round();
      return hidden(fresh.view());
    };
    ASSERT_EQ(wait_until(system_clock(), soon, tick, {}, replayed), WaitEnd::reached) << whose;
    Sampler sampler = make_sampler("pgrm_monitor");
    const auto becomes = [&](const std::function<bool(const View&)>& condition) {
      return wait_until(system_clock(), soon, tick, {}, [&] {
               sampler.round();
               return condition(sampler.view());
             }) == WaitEnd::reached;
    };
    EXPECT_TRUE(becomes(hidden)) << whose;
    const View view = sampler.view();
    EXPECT_FALSE(series(view).contains("pgrm_read_only{node=\"primary\"}")) << whose;
    EXPECT_EQ(writable_side(view.sample()), std::nullopt) << whose;
    primary_.run("ALTER " + whose + " RESET default_transaction_read_only");
    EXPECT_TRUE(becomes(in_sync)) << whose << ": without a restart of the exporter";
    EXPECT_EQ(writable_side(sampler.view().sample()), Side::primary);
  }
}

TEST_F(ExporterTest, ARestartedPrimaryIsSeenAgainByOneConnection) {
  ASSERT_TRUE(comes([](const View& view) { return view.streak().consecutive() >= 3; })) << reasons();
  const std::string started = primary_.value("pg_postmaster_start_time()");
  primary_.start(primary_.bin("pg_ctl") + " restart -m fast -l /dev/null -D " +
                 primary_.value("current_setting('data_directory')"));
  ASSERT_TRUE(comes([](const View& view) { return !in_sync(view); }));
  ASSERT_TRUE(comes(in_sync)) << reasons();
  EXPECT_LT(sampler_.view().streak().consecutive(), 3) << "the streak starts anew";
  Operator restarted(superuser_.primary);
  EXPECT_NE(restarted.value("pg_postmaster_start_time()"), started);
  // This one's and the lab's own, which has its own time.
  EXPECT_TRUE(comes([&](const View&) {
    return restarted.value("SELECT count(*) FROM pg_stat_activity WHERE usename = 'pgrm_monitor'") == "2";
  }));
}

TEST_F(ExporterTest, ARestartedStandbyIsNotBehindAndTheStreakStartsAnew) {
  // Some of a segment: a restarted standby streams from the start of one, and says that it has received no more than
  // that until something new comes in (XLogWalRcvFlush), which is less than what it has replayed.
  primary_.write_wal(300'000);
  const auto received_less_than_replayed = [](const View& view) {
    const ServerState* const replica = view.server(Side::replica);
    return replica != nullptr && replica->wal_receive < replica->wal_replay;
  };
  // Whatever the primary writes by itself meanwhile (a checkpoint, autovacuum) springs the trap too early.
  bool trapped = false;
  for (int attempt = 0; attempt < 5 && !trapped; ++attempt) {
    ASSERT_TRUE(comes([](const View& view) { return view.streak().consecutive() >= 2; })) << reasons();
    Operator before(superuser_.replica);
    const std::string started = before.value("pg_postmaster_start_time()");
    before.start(before.bin("pg_ctl") + " restart -m immediate -l /dev/null -D " +
                 before.value("current_setting('data_directory')"));
    ASSERT_TRUE(comes([](const View& view) { return !in_sync(view); }));
    ASSERT_TRUE(comes(in_sync)) << reasons();
    EXPECT_LT(sampler_.view().streak().consecutive(), 3);
    EXPECT_NE(Operator(superuser_.replica).value("pg_postmaster_start_time()"), started);
    trapped = received_less_than_replayed(sampler_.view());
  }
  ASSERT_TRUE(trapped);
  EXPECT_TRUE(comes([](const View& view) { return series(view).at("pgrm_pair_receive_lag_bytes") == 0; }));
}

/// Stops every process of a server that an observer meets, and lets them go on at the end.
class Stopped {
 public:
  explicit Stopped(Operator& server) {
    pids_.push_back(std::stoi(server.value("split_part(pg_read_file('postmaster.pid'), E'\\n', 1)")));
    const Rows observers = server.run("SELECT pid FROM pg_stat_activity WHERE application_name = 'pgrm-exporter'");
    for (std::size_t i = 0; i < observers.size(); ++i) {
      pids_.push_back(static_cast<int>(observers[i].integer("pid").value()));
    }
    signal_all(SIGSTOP);
  }
  ~Stopped() { signal_all(SIGCONT); }
  Stopped(const Stopped&) = delete;
  Stopped& operator=(const Stopped&) = delete;

 private:
  void signal_all(int signal) const {
    for (const int pid : pids_) EXPECT_EQ(kill(pid, signal), 0) << pid;
  }
  std::vector<int> pids_;
};

TEST_F(ExporterTest, AServerThatHangsHidesOnlyItselfAndLeavesNoConnectionBehind) {
  // As another role than the lab's own exporter, so that its connections can be told apart.
  Sampler sampler = make_sampler("pgrm_agent");
  const auto connections = [this] {
    return replica_.value("SELECT count(*) FROM pg_stat_activity WHERE usename = 'pgrm_agent'");
  };
  sampler.start();
  const auto holds = [&sampler](auto condition) {
    return wait_until(system_clock(), soon, tick, {}, [&] { return condition(sampler.view()); }) == WaitEnd::reached;
  };
  ASSERT_TRUE(holds(in_sync));
  {
    const Stopped stopped(replica_);
    ASSERT_TRUE(holds([](const View& view) { return view.server(Side::replica) == nullptr; }));
    // Long enough for several attempts to connect anew; the primary must be seen all the while.
    const std::uint64_t attempts = sampler.latest()->replica.looks + 20;
    EXPECT_TRUE(holds([&](const View& view) {
      EXPECT_NE(view.server(Side::primary), nullptr);
      return view.observation().replica.looks > attempts;
    }));
    EXPECT_EQ(sampler.view().server(Side::replica), nullptr);
    EXPECT_EQ(series(sampler.view()).at("pgrm_up{node=\"primary\"}"), 1);
  }
  EXPECT_TRUE(holds([](const View& view) { return view.streak().consecutive() >= 2; }));
  EXPECT_EQ(wait_until(system_clock(), soon, tick, {}, [&] { return connections() == "1"; }), WaitEnd::reached)
      << connections();
}

TEST_F(ExporterTest, ARoleChangeIsSeenAtOnceAndForWhatItIs) {
  primary_.set("default_transaction_read_only", "on");
  EXPECT_TRUE(comes([](const View& view) { return !writable_side(view.sample()); })) << "fenced: nobody takes writes";
  EXPECT_TRUE(in_sync(sampler_.view())) << "and the replica still follows: " << reasons();

  replica_.run("SELECT pg_promote(true, 30)");
  sampler_.round();
  const View view = sampler_.view();
  EXPECT_EQ(writable_side(view.sample()), Side::replica);
  EXPECT_FALSE(in_sync(view));
  ASSERT_EQ(view.streak().reasons().size(), 1U) << reasons();
  EXPECT_EQ(view.streak().reasons().front().name, "roles");
  const Series all = series(view);
  EXPECT_EQ(all.at("pgrm_in_recovery{node=\"primary\"}"), 0);
  EXPECT_EQ(all.at("pgrm_read_only{node=\"primary\"}"), 1);
  EXPECT_EQ(all.at("pgrm_in_recovery{node=\"replica\"}"), 0);
  EXPECT_EQ(all.at("pgrm_read_only{node=\"replica\"}"), 0);
  EXPECT_EQ(all.at("pgrm_timeline_id{node=\"replica\"}"), all.at("pgrm_timeline_id{node=\"primary\"}") + 1);
  EXPECT_TRUE(std::ranges::none_of(all, [](const auto& entry) {
    return entry.first.starts_with("pgrm_pair_") || entry.first.starts_with("pgrm_standby_") ||
           entry.first.starts_with("pgrm_wal_receiver_");
  })) << "nothing is a standby, and no lag is known";

  // Nobody can make a standby of it again: the tests after this one get a new pair.
  LabPair::get().lab("down --wipe");
  LabPair::get().lab("up");
}

}  // namespace
}  // namespace pgrm::exporter
