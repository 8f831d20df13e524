// Every check on a real pair that is spoilt for it, and cured again. What a running pair cannot be made to be (another
// version, another clock, another machine's libraries) is tested on the fake: tests/unit/agent/checks_test.cc.
#include "agent/checks/checks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <optional>

#include "agent/base/state_dir.h"
#include "core/base/error.h"
#include "core/base/wait.h"
#include "core/pg/session.h"
#include "tests/integration/lab_pair.h"

namespace pgrm::agent {
namespace {

using testing::HasSubstr;

constexpr auto soon = std::chrono::seconds(30);

class NoExporter final : public http::Client {
 public:
  http::Reply get(const std::string&, Duration) override { throw Error(ErrorCode::unreachable, "no exporter"); }
  http::Reply post(const std::string&, Duration) override { throw Error(ErrorCode::unreachable, "no exporter"); }
  std::string describe() const override { return "http://nowhere"; }
};

class AgentChecksTest : public testing::Test {
 protected:
  AgentChecksTest() {
    options_.pair = by_role(lab_.as("pgrm_agent"));
    options_.state_dir = testing::TempDir() + "agent-checks";
    options_.standby_slot = "pgrm_standby";
    connect();
  }

  void connect() {
    servers_.emplace(make_servers(options_.pair, "checks"));
    control_ = make_node_control(options_.node_control,
                                 {options_.pair.old_primary, options_.pair.new_primary, options_.standby_slot});
  }

  /// On the primary or the replica, as superuser; the session is closed before anything is judged.
  void as_superuser(Side side, const std::vector<std::string>& statements) {
    const Pair pair = lab_.as("postgres");
    Session session(side == Side::primary ? pair.primary : pair.replica, "test");
    session.open(soon);
    for (const std::string& sql : statements) session.script(sql, soon);
  }

  std::vector<Finding> findings() {
    return judge(gather_facts(*servers_, exporter_, traffic_, *control_, options_, system_clock()));
  }

  Verdict verdict_of(std::string_view name) {
    for (const Finding& finding : findings()) {
      if (finding.check->name == name) return finding.verdict;
    }
    throw Error(ErrorCode::internal, "no such check");
  }

  /// What the check says once it says that, or in the end: the replica follows in its own time.
  Verdict eventually(std::string_view name, Level level) {
    std::optional<Verdict> verdict;
    wait_until(system_clock(), soon, std::chrono::milliseconds(50), {}, [&] {
      verdict = verdict_of(name);
      return verdict->level == level;
    });
    EXPECT_EQ(to_string(verdict->level), to_string(level)) << name << ": " << verdict->reason;
    return *verdict;
  }

  Session client(Side side, const std::string& role = "pgrm_app") {
    const Pair pair = lab_.as(role);
    Session session(side == Side::primary ? pair.primary : pair.replica, "a client");
    session.open(soon);
    return session;
  }

  const LabPair& lab_ = LabPair::get();
  Options options_;
  NoExporter exporter_;
  Traffics traffic_;
  std::optional<Servers> servers_;
  std::unique_ptr<NodeControl> control_;
};

TEST_F(AgentChecksTest, AHealthyPairPasses) {
  const std::map<std::string_view, Level> others{{"exporter_fresh", Level::fail},
                                                 {"exporter_pair", Level::unknown},
                                                 {"traffic", Level::warn},
                                                 {"warm", Level::warn}};  // the lab has no pg_buffercache
  // The replica follows in its own time, and psql's session, that made the pair, ends in its own.
  for (const char* const name : {"lag", "streaming", "superuser_sessions"}) eventually(name, Level::pass);
  for (const Finding& finding : findings()) {
    const auto other = others.find(finding.check->name);
    EXPECT_EQ(to_string(finding.verdict.level), to_string(other == others.end() ? Level::pass : other->second))
        << finding.check->name << ": " << finding.verdict.reason;
  }
}

struct Spoilt {
  const char* check;
  Level level;
  Side side;
  std::vector<std::string> spoil, cure;
};

TEST_F(AgentChecksTest, EachSaysWhatIsWrongAndThatItIsCured) {
  const std::string reload = "SELECT pg_reload_conf()";
  const auto setting = [&](const char* check, Level level, Side side, const std::string& name,
                           const std::string& value) {
    return Spoilt{check,
                  level,
                  side,
                  {"ALTER SYSTEM SET " + name + " = " + value, reload},
                  {"ALTER SYSTEM RESET " + name, reload}};
  };
  const std::vector<Spoilt> cases{
      {"replay_running",
       Level::fail,
       Side::replica,
       {"SELECT pg_wal_replay_pause()"},
       {"SELECT pg_wal_replay_resume()"}},
      {"lag", Level::warn, Side::replica, {"SELECT pg_wal_replay_pause()"}, {"SELECT pg_wal_replay_resume()"}},
      setting("apply_delay", Level::fail, Side::replica, "recovery_min_apply_delay", "'1min'"),
      setting("promotion_commands", Level::warn, Side::replica, "recovery_end_command", "'true'"),
      {"not_read_only",
       Level::pass,
       Side::primary,
       {"ALTER ROLE pgrm_monitor SET default_transaction_read_only = on"},
       {"ALTER ROLE pgrm_monitor RESET default_transaction_read_only"}},
      {"read_only_exceptions",
       Level::pass,
       Side::primary,
       {"ALTER ROLE pgrm_monitor SET default_transaction_read_only = TRUE"},
       {"ALTER ROLE pgrm_monitor RESET default_transaction_read_only"}},
      setting("synchronous_standbys", Level::fail, Side::replica, "synchronous_standby_names", "'nobody'"),
      setting("not_read_only", Level::fail, Side::replica, "default_transaction_read_only", "on"),
      setting("pending_restart", Level::warn, Side::replica, "max_connections", "321"),
      setting("differing_settings", Level::warn, Side::replica, "timezone", "'Europe/Berlin'"),
      {"read_only_exceptions",
       Level::fail,
       Side::primary,
       {"ALTER ROLE pgrm_app SET default_transaction_read_only = off"},
       {"ALTER ROLE pgrm_app RESET default_transaction_read_only"}},
      {"wedge",
       Level::warn,
       Side::primary,
       {"ALTER ROLE pgrm_app IN DATABASE testdb SET synchronous_commit = OFF"},
       {"ALTER ROLE pgrm_app IN DATABASE testdb RESET synchronous_commit"}},
      setting("wedge", Level::warn, Side::primary, "synchronous_commit", "local"),
      {"unlogged_tables", Level::warn, Side::primary, {"CREATE UNLOGGED TABLE gone (n int)"}, {"DROP TABLE gone"}},
      {"invalid_indexes",
       Level::warn,
       Side::primary,
       {"CREATE TABLE broken (n int)", "CREATE INDEX broken_index ON broken (n)",
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'broken_index'::regclass"},
       {"DROP TABLE broken"}},
      {"extensions",
       Level::warn,
       Side::primary,
       {"UPDATE pg_extension SET extversion = '0.0' WHERE extname = 'plpgsql'"},
       {"UPDATE pg_extension SET extversion = '1.0' WHERE extname = 'plpgsql'"}},
      {"extensions",
       Level::fail,
       Side::primary,
       {"UPDATE pg_extension SET extname = 'from_elsewhere' WHERE extname = 'plpgsql'"},
       {"UPDATE pg_extension SET extname = 'plpgsql' WHERE extname = 'from_elsewhere'"}},
      // A catalog, so it replicates: the replica's own libraries cannot be spoilt alone.
      {"collations",
       Level::warn,
       Side::primary,
       {"UPDATE pg_collation SET collversion = '0' WHERE collname = 'und-x-icu'"},
       {"UPDATE pg_collation SET collversion = pg_collation_actual_version(oid) WHERE collname = 'und-x-icu'"}},
      {"senders",
       Level::warn,
       Side::replica,
       {"SELECT pg_create_physical_replication_slot('filler_' || n) FROM "
        "generate_series(1, current_setting('max_replication_slots')::int) AS n"},
       {"SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name LIKE 'filler%'"}},
      {"promote_rights",
       Level::fail,
       Side::primary,
       {"REVOKE pg_checkpoint FROM pgrm_agent"},
       {"GRANT pg_checkpoint TO pgrm_agent"}},
  };
  const bool superuser = servers_->old_primary.admin->facts(soon).superuser;
  for (const Spoilt& spoilt : cases) {
    // Who is a superuser may everything.
    if (superuser && std::string_view(spoilt.check).ends_with("_rights")) continue;
    SCOPED_TRACE(spoilt.check);
    eventually(spoilt.check, Level::pass);
    as_superuser(spoilt.side, spoilt.spoil);
    if (std::string_view(spoilt.check) == "lag")
      as_superuser(Side::primary, {"CREATE TABLE behind AS SELECT generate_series(1, 1000)", "DROP TABLE behind"});
    const Verdict verdict = eventually(spoilt.check, spoilt.level);
    EXPECT_EQ(verdict.hint.empty(), spoilt.level == Level::pass);
    as_superuser(spoilt.side, spoilt.cure);
    eventually(spoilt.check, Level::pass);
  }
}

TEST_F(AgentChecksTest, SessionsThatWillBeHurtAreSeen) {
  Session idle = client(Side::primary);
  idle.script("BEGIN", soon);
  idle.script("SELECT pg_advisory_lock(42)", soon);
  Session reader = client(Side::replica);
  reader.script("BEGIN ISOLATION LEVEL REPEATABLE READ", soon);
  reader.script("SELECT count(*) FROM pg_class", soon);
  Session stranger(lab_.as("replicator").primary.with("replication", "true"), "pg_receivewal");
  stranger.open(soon);
  EXPECT_THAT(eventually("advisory_locks", Level::warn).reason, HasSubstr("1 sessions"));
  EXPECT_THAT(eventually("other_standbys", Level::warn).reason, HasSubstr("pg_receivewal"));
  EXPECT_THAT(eventually("long_transactions", Level::warn).reason, HasSubstr("open for"));
  EXPECT_THAT(eventually("idle_transactions", Level::warn).reason, HasSubstr("1 sessions"));
  EXPECT_THAT(eventually("conflicts", Level::warn).reason, HasSubstr("open for"));
  options_.demotion = Demotion::stop;
  EXPECT_THAT(eventually("shutdown", Level::warn).reason, HasSubstr("pg_receivewal"));
}

TEST_F(AgentChecksTest, ASuperusersSessionIsSeenByWhoCannotEndIt) {
  if (servers_->old_primary.admin->facts(soon).superuser) GTEST_SKIP() << "before 15 the agent is a superuser";
  const Session superuser = client(Side::primary, "postgres");
  EXPECT_EQ(to_string(verdict_of("superuser_sessions").level), "pass") << "a health check comes and goes";
  EXPECT_THAT(eventually("superuser_sessions", Level::fail).reason, HasSubstr("cannot end"));
}

TEST_F(AgentChecksTest, ASecondAgentIsSeen) {
  Servers other = make_servers(options_.pair, "other");
  ASSERT_TRUE(other.lock->try_lock(soon));
  eventually("single_agent", Level::fail);
}

TEST_F(AgentChecksTest, WhatADemotionNeedsIsAskedBeforehand) {
  options_.demotion = Demotion::standby;
  connect();
  EXPECT_THAT(verdict_of("node_control").reason, HasSubstr("no commands"));
  options_.node_control = lab_.home() + "/data/node-control";
  connect();
  EXPECT_EQ(to_string(verdict_of("node_control").level), "pass") << verdict_of("node_control").reason;
  EXPECT_EQ(to_string(verdict_of("demotion_rights").level), "pass");
  if (!servers_->old_primary.admin->facts(soon).superuser) {
    as_superuser(Side::primary, {"ALTER ROLE pgrm_agent NOREPLICATION"});
    EXPECT_THAT(eventually("demotion_rights", Level::fail).reason, HasSubstr("REPLICATION"));
    as_superuser(Side::primary, {"ALTER ROLE pgrm_agent REPLICATION"});
    eventually("demotion_rights", Level::pass);
  }
}

TEST_F(AgentChecksTest, WhatOnlyARestartChangesIsSeen) {
  options_.node_control = lab_.home() + "/data/node-control";
  const auto restart = [this] {
    connect();
    control_->carry_out(NodeVerb::stop, soon);
    control_->carry_out(NodeVerb::start, soon);
  };
  const bool hints_matter = servers_->old_primary.admin->facts(soon).settings.at("data_checksums") == "off";
  as_superuser(Side::primary, {"ALTER SYSTEM SET archive_mode = on", "ALTER SYSTEM SET archive_command = 'false'",
                               "ALTER SYSTEM SET wal_level = logical", "ALTER SYSTEM SET wal_log_hints = off"});
  restart();
  as_superuser(Side::primary,
               {"SELECT pg_create_logical_replication_slot('consumer', 'pgoutput')", "SELECT pg_switch_wal()"});
  EXPECT_THAT(eventually("archiver", Level::warn).reason, HasSubstr("last attempt has failed"));
  EXPECT_THAT(eventually("archiving", Level::warn).reason, HasSubstr("off on the replica"));
  EXPECT_THAT(eventually("logical_slots", Level::fail).reason, HasSubstr("consumer"));
  eventually("rewindable", hints_matter ? Level::warn : Level::pass);
  as_superuser(Side::primary, {"SELECT pg_drop_replication_slot('consumer')", "ALTER SYSTEM RESET archive_mode",
                               "ALTER SYSTEM RESET archive_command", "ALTER SYSTEM RESET wal_level",
                               "ALTER SYSTEM RESET wal_log_hints"});
  restart();
  for (const char* const name : {"archiver", "archiving", "logical_slots", "rewindable"}) eventually(name, Level::pass);
}

TEST_F(AgentChecksTest, EveryDatabaseIsLookedInto) {
  as_superuser(Side::primary,
               {"CREATE DATABASE second OWNER pgrm_app", "CREATE DATABASE a_template OWNER pgrm_app IS_TEMPLATE true",
                "CREATE DATABASE not_ours IS_TEMPLATE true"});
  Session owner(lab_.as("pgrm_app").primary.with("dbname", "second"), "an owner");
  owner.open(soon);
  owner.script("CREATE UNLOGGED TABLE scratch ()", soon);
  EXPECT_THAT(eventually("unlogged_tables", Level::warn).reason, HasSubstr("second: public.scratch"));
  eventually("databases_seen", Level::pass);
  EXPECT_THAT(verdict_of("fence_form").reason, HasSubstr("but for the templates not_ours"));
  const FencePlan plan = plan_fence(servers_->old_primary.admin->fence_view(soon), options_, "test");
  EXPECT_THAT(plan.databases, testing::IsSupersetOf({"second", "a_template", "testdb"}));
  EXPECT_THAT(plan.databases, testing::Not(testing::Contains("not_ours")));
  as_superuser(Side::primary, {"REVOKE CONNECT ON DATABASE not_ours FROM PUBLIC"});
  EXPECT_THAT(eventually("databases_seen", Level::warn).reason, HasSubstr("not_ours: "));
  owner.close();
  as_superuser(Side::primary,
               {"ALTER DATABASE a_template IS_TEMPLATE false", "ALTER DATABASE not_ours IS_TEMPLATE false",
                "DROP DATABASE a_template", "DROP DATABASE not_ours", "DROP DATABASE second WITH (FORCE)"});
  eventually("unlogged_tables", Level::pass);
}

TEST_F(AgentChecksTest, AnHaManagerAtWorkIsNamed) {
  const auto as = [&](const std::string& application) {
    Session session(lab_.as("postgres").replica, application);
    session.open(soon);
    return session;
  };
  const Session patroni = as("Patroni heartbeat");
  const Verdict verdict = eventually("ha_manager", Level::fail);
  EXPECT_THAT(verdict.reason, HasSubstr("Patroni (Patroni heartbeat on " + options_.pair.new_primary.address()));
  EXPECT_THAT(verdict.hint, HasSubstr("patronictl pause"));
  options_.ha_manager_paused = true;
  eventually("ha_manager", Level::warn);
}

TEST_F(AgentChecksTest, ARoleThatOnlyTheReplicaRefusesIsNamed) {
  const Session application = client(Side::primary);
  Session superuser = client(Side::replica, "postgres");
  const std::string path = superuser.execute({"hba_file", "SELECT current_setting('hba_file') AS path"}, {}, soon)
                               .one()
                               .text("path")
                               .value();
  const std::string before = read_file(path);
  eventually("logins", Level::pass);
  std::ofstream(path) << "host all pgrm_app all reject\n" << before;
  superuser.script("SELECT pg_reload_conf()", soon);
  EXPECT_THAT(eventually("logins", Level::fail).reason, HasSubstr("pgrm_app"));
  std::ofstream(path) << before;
  superuser.script("SELECT pg_reload_conf()", soon);
  eventually("logins", Level::pass);
}

TEST_F(AgentChecksTest, TodaysConnectionsThatFindNoRoomAreCounted) {
  eventually("headroom", Level::pass);
  // More than half of what either takes, on both: the replica has no room for those of the primary.
  const long half = std::stol(servers_->old_primary.admin->facts(soon).settings.at("max_connections")) / 2;
  std::vector<Session> sessions;
  for (long i = 0; i < half; ++i) {
    sessions.push_back(client(Side::primary));
    sessions.push_back(client(Side::replica));
  }
  EXPECT_THAT(eventually("headroom", Level::fail).reason, HasSubstr("has room for"));
  sessions.clear();
  eventually("headroom", Level::pass);
}

TEST_F(AgentChecksTest, AJournalThatCannotBeWrittenIsFoundBeforehand) {
  options_.state_dir = "/proc/nothing";
  eventually("state_directory", Level::fail);
}

TEST_F(AgentChecksTest, AServerThatIsNotThereIsNamed) {
  options_.pair.new_primary = options_.pair.new_primary.with("port", "1");
  connect();
  EXPECT_THAT(verdict_of("replica_reachable").reason, HasSubstr("cannot connect"));
  EXPECT_THAT(verdict_of("capacity").reason, HasSubstr("cannot be judged without the replica"));
}

}  // namespace
}  // namespace pgrm::agent
