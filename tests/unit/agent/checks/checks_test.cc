#include "agent/checks/checks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/fakes/pair_sample.h"
#include "tests/unit/agent/rig.h"

namespace pgrm::agent {
namespace {

Verdict verdict_of(Rig& rig, std::string_view name) {
  const Facts facts = gather_facts(rig.servers, rig.exporter, rig.drivers, rig.control, rig.options, rig.clock);
  for (const Finding& finding : judge(facts)) {
    if (finding.check->name == name) return finding.verdict;
  }
  throw Error(ErrorCode::internal, "no such check");
}

struct Case {
  const char* check;
  Level level;
  void (*spoil)(Rig&);
};

std::ostream& operator<<(std::ostream& out, const Case& row) { return out << row.check; }

void another_database(Rig& rig) {
  for (auto* const server : {&rig.cluster.primary, &rig.cluster.replica}) {
    server->databases.push_back({"extra", "app", true, true});
    server->facts.databases = server->databases;
  }
}

/// The consumer is at `here`, and its slot of the replica at `there`.
void slot_on_both(Rig& rig, int version, Lsn there) {
  Slot slot;
  slot.name = "consumer";
  slot.type = "logical";
  for (auto* const server : {&rig.cluster.primary, &rig.cluster.replica}) {
    slot.confirmed_flush = server == &rig.cluster.primary ? fakes::here : there;
    server->state.version = version;
    server->state.slots.push_back(slot);
    server->facts.logical_slots = {slot.name};
  }
}

/// One row a check: what makes it say something else than pass.
constexpr std::array cases{
    Case{"primary_reachable", Level::fail, [](Rig& rig) { rig.cluster.primary.up = false; }},
    Case{"replica_reachable", Level::fail, [](Rig& rig) { rig.cluster.replica.up = false; }},
    Case{"roles", Level::fail, [](Rig& rig) { rig.cluster.primary.state.in_recovery = true; }},
    Case{"roles", Level::fail, [](Rig& rig) { rig.cluster.replica_is_promoted(); }},
    Case{"two_servers", Level::fail,
         [](Rig& rig) { rig.cluster.replica.state.started_at = rig.cluster.primary.state.started_at; }},
    Case{"fence_left", Level::fail,
         [](Rig& rig) { rig.cluster.primary.written.standby_names = wedge_of("20270101T000000Z-armed"); }},
    Case{"fence_left", Level::fail,
         [](Rig& rig) { rig.cluster.replica.override.standby_names = wedge_of("20270101T000000Z-left"); }},
    Case{"fence_left", Level::warn, [](Rig& rig) { rig.cluster.primary.facts.rights["pg_file_settings"] = false; }},
    Case{"cutover_under_way", Level::fail,
         [](Rig& rig) { rig.cluster.primary.markers = {"20270101T000000Z-other on host db-admin2, STATE_DIR /s"}; }},
    Case{"ha_manager", Level::fail,
         [](Rig& rig) { rig.cluster.replica.facts.traces.applications = {"Patroni heartbeat"}; }},
    Case{"ha_manager", Level::fail,
         [](Rig& rig) { rig.cluster.primary.facts.traces.commands = {"/controller/manager wal-archive %p"}; }},
    Case{"ha_manager", Level::warn, [](Rig& rig) { rig.cluster.primary.facts.traces.databases = {"repmgr"}; }},
    Case{"ha_manager", Level::warn,
         [](Rig& rig) {
           rig.cluster.primary.facts.traces.slots = {"pgautofailover_standby_2"};
           rig.options.ha_manager_paused = true;
         }},
    Case{"databases_seen", Level::warn,
         [](Rig& rig) {
           another_database(rig);
           rig.cluster.before = [](const std::string& call) {
             if (call == "primary.database_facts(extra)") throw Error(ErrorCode::permission_denied, "no CONNECT");
           };
         }},
    Case{"unlogged_tables", Level::warn,
         [](Rig& rig) {
           another_database(rig);
           rig.cluster.primary.other_database.unlogged_tables = {"t"};
         }},
    Case{"extensions", Level::fail,
         [](Rig& rig) {
           another_database(rig);
           rig.cluster.replica.other_database.missing_extensions = {"postgis"};
         }},
    Case{"promotion_commands", Level::warn,
         [](Rig& rig) { rig.cluster.replica.facts.settings["recovery_end_command"] = "rm /run/standby"; }},
    Case{"promotion_commands", Level::warn,
         [](Rig& rig) {
           rig.cluster.replica.facts.settings["restore_command"] = "cp /archive/%f %p";
           rig.cluster.replica.facts.rights["ALTER SYSTEM restore_command"] = false;
         }},
    Case{"promotion_commands", Level::warn,
         [](Rig& rig) {
           rig.cluster.replica.facts.settings["restore_command"] = "cp /archive/%f %p";
           rig.cluster.replica.facts.traces.command_line = {"restore_command"};
         }},
    Case{"promotion_commands", Level::warn,
         [](Rig& rig) {
           rig.cluster.replica.facts.settings["restore_command"] = "cp /archive/%f %p";
           rig.cluster.replica.state.version = rig.cluster.primary.state.version = 130022;
         }},
    Case{"login_triggers", Level::warn, [](Rig& rig) { rig.cluster.primary.database.login_triggers = {"audit"}; }},
    Case{"background_workers", Level::warn,
         [](Rig& rig) {
           rig.cluster.primary.facts.traces.backends = {"checkpointer", "pg_cron launcher"};
         }},
    Case{"configuration", Level::fail,
         [](Rig& rig) { rig.cluster.primary.facts.settings["allow_alter_system"] = "off"; }},
    Case{"configuration", Level::fail,
         [](Rig& rig) {
           rig.cluster.primary.facts.traces.command_line = {"port", "synchronous_standby_names"};
         }},
    Case{"configuration", Level::warn,
         [](Rig& rig) { rig.cluster.replica.facts.file_errors = {"/etc/postgresql.conf:7 shared_bufers: unknown"}; }},
    Case{"logical_slots", Level::warn,
         [](Rig& rig) {
           rig.cluster.primary.facts.logical_slots = {"consumer"};
           rig.options.lose_logical_slots = true;
         }},
    Case{"probe_table", Level::fail,
         [](Rig& rig) { rig.cluster.primary.probe_table_problems = {"it has a trigger, \"t\""}; }},
    Case{"fence_rights", Level::fail,
         [](Rig& rig) { rig.cluster.primary.facts.rights["pg_read_all_settings"] = false; }},
    Case{"versions", Level::fail, [](Rig& rig) { rig.cluster.replica.state.version = 150001; }},
    Case{"versions", Level::fail,
         [](Rig& rig) { rig.cluster.primary.state.version = rig.cluster.replica.state.version = 120001; }},
    Case{"system_identifier", Level::fail, [](Rig& rig) { rig.cluster.replica.state.system_identifier = "2"; }},
    Case{"timeline", Level::fail, [](Rig& rig) { rig.cluster.replica.state.timeline = 2; }},
    Case{"timeline", Level::unknown, [](Rig& rig) { rig.cluster.replica.state.timeline.reset(); }},
    Case{"streaming", Level::fail, [](Rig& rig) { rig.cluster.replica.state.receiver.reset(); }},
    Case{"streaming", Level::fail, [](Rig& rig) { rig.cluster.replica.state.receiver->status = "waiting"; }},
    Case{"streaming", Level::fail, [](Rig& rig) { rig.cluster.primary.state.standbys.front().state = "catchup"; }},
    Case{"exporter_fresh", Level::fail, [](Rig& rig) { rig.exporter.up = false; }},
    Case{"exporter_fresh", Level::fail, [](Rig& rig) { rig.exporter.age = std::chrono::seconds(6); }},
    Case{"exporter_pair", Level::unknown, [](Rig& rig) { rig.exporter.up = false; }},
    Case{"exporter_pair", Level::fail,
         [](Rig& rig) { rig.exporter.sees = [](Sample& sample) { sample.replica.state->system_identifier = "2"; }; }},
    Case{"exporter_pair", Level::warn,
         [](Rig& rig) { rig.exporter.sees = [](Sample& sample) { sample.replica.state.reset(); }; }},
    Case{"exporter_pair", Level::warn,
         [](Rig& rig) { rig.exporter.sees = [](Sample& sample) { sample.replica.state->in_recovery = false; }; }},
    Case{"clocks", Level::fail, [](Rig& rig) { rig.cluster.replica.state.server_time += std::chrono::seconds(3); }},
    Case{"single_agent", Level::fail, [](Rig& rig) { rig.cluster.primary.locked = true; }},
    Case{"slot", Level::fail, [](Rig& rig) { rig.cluster.primary.state.slots.front().active = false; }},
    Case{"slot", Level::fail, [](Rig& rig) { rig.cluster.primary.state.slots.front().wal_status = "lost"; }},
    Case{"slot", Level::fail, [](Rig& rig) { rig.cluster.primary.state.slots.clear(); }},
    Case{"slot", Level::warn, [](Rig& rig) { rig.cluster.replica.state.receiver->slot.clear(); }},
    Case{"slot", Level::unknown, [](Rig& rig) { rig.cluster.replica.state.receiver.reset(); }},
    Case{"lag", Level::warn,
         [](Rig& rig) {
           rig.cluster.streams = false;
           rig.cluster.after = [&rig](const std::string& call) {
             if (call == "primary.facts") rig.cluster.write(4096);
           };
         }},
    Case{"lag", Level::warn,
         [](Rig& rig) {
           rig.cluster.streams = false;
           rig.cluster.write(4096);
         }},
    Case{"replay_running", Level::fail, [](Rig& rig) { rig.cluster.replica.state.replay_paused = true; }},
    Case{"apply_delay", Level::fail,
         [](Rig& rig) { rig.cluster.replica.facts.settings["recovery_min_apply_delay"] = "60000"; }},
    Case{"base_backup", Level::fail, [](Rig& rig) { rig.cluster.primary.facts.base_backup_running = true; }},
    Case{"conflicts", Level::warn,
         [](Rig& rig) { rig.cluster.replica.facts.oldest_transaction = std::chrono::minutes(1); }},
    Case{"archiver", Level::warn,
         [](Rig& rig) {
           rig.cluster.primary.facts.settings["archive_mode"] = "on";
           rig.cluster.primary.facts.archiver_failing = true;
         }},
    Case{"archiver", Level::warn,
         [](Rig& rig) {
           rig.cluster.primary.facts.settings["archive_mode"] = "on";
           rig.cluster.primary.facts.archive_ready = 100;
         }},
    Case{"archiver", Level::unknown,
         [](Rig& rig) {
           rig.cluster.primary.facts.settings["archive_mode"] = "on";
           rig.cluster.primary.facts.archive_ready.reset();
         }},
    Case{"warm", Level::warn,
         [](Rig& rig) {
           rig.primary_cache.kept = {{{6, 1663, 100, 0}, 0, 0xff, 5}};
         }},
    Case{"warm", Level::warn, [](Rig& rig) { rig.primary_cache.tools.buffercache = {}; }},
    Case{"warm", Level::warn,
         [](Rig& rig) {
           rig.replica_cache.before = [](const std::string& call) {
             if (call == "kept") throw Error(ErrorCode::query_failed, "could not access file");
           };
         }},
    Case{"promotion_work", Level::warn,
         [](Rig& rig) {
           rig.cluster.replica.promotion_work = PromotionWork{.directories = 3, .spare_segments = 60};
         }},
    Case{"promotion_work", Level::warn,
         [](Rig& rig) {
           rig.cluster.replica.promotion_work = PromotionWork{.directories = 300, .spare_segments = 0};
         }},
    Case{"promotion_work", Level::warn, [](Rig& rig) { rig.cluster.replica.promotion_work.reset(); }},
    Case{"pending_restart", Level::warn,
         [](Rig& rig) { rig.cluster.replica.facts.pending_restart = {"max_connections"}; }},
    Case{"headroom", Level::fail, [](Rig& rig) { rig.cluster.primary.state.connections = 95; }},
    Case{"senders", Level::fail,
         [](Rig& rig) {
           rig.options.demotion = Demotion::standby;
           rig.cluster.replica.facts.settings["max_wal_senders"] = "0";
         }},
    Case{"senders", Level::warn, [](Rig& rig) { rig.cluster.replica.facts.settings["max_replication_slots"] = "0"; }},
    Case{"senders", Level::fail,
         [](Rig& rig) {
           rig.options.demotion = Demotion::standby;
           Slot slot;
           slot.name = rig.options.standby_slot;
           slot.active = true;
           rig.cluster.replica.state.slots = {slot};
         }},
    Case{"extensions", Level::fail, [](Rig& rig) { rig.cluster.replica.database.missing_extensions = {"postgis"}; }},
    Case{"extensions", Level::warn,
         [](Rig& rig) { rig.cluster.replica.database.differing_extensions = {"postgis 3.3.2"}; }},
    Case{"extensions", Level::unknown,
         [](Rig& rig) {
           rig.cluster.before = [](const std::string& call) {
             if (call == "replica.database_facts") throw Error(ErrorCode::query_failed, "no such database");
           };
         }},
    Case{"collations", Level::fail, [](Rig& rig) { rig.cluster.replica.facts.collation_mismatches = {"testdb"}; }},
    Case{"collations", Level::warn,
         [](Rig& rig) {
           rig.cluster.primary.database.collation_mismatches = {"de_DE"};
           rig.cluster.replica.database.collation_mismatches = {"de_DE"};
         }},
    Case{"differing_settings", Level::warn,
         [](Rig& rig) { rig.cluster.replica.facts.settings["TimeZone"] = "Europe/Berlin"; }},
    Case{"logins", Level::fail, [](Rig& rig) { rig.cluster.replica.refuses_role = "no pg_hba.conf entry"; }},
    Case{
        "logins", Level::warn,
        [](Rig& rig) { rig.cluster.primary.refuses_role = rig.cluster.replica.refuses_role = "no pg_hba.conf entry"; }},
    Case{"rewindable", Level::warn, [](Rig& rig) { rig.cluster.primary.facts.settings["wal_log_hints"] = "off"; }},
    Case{"capacity", Level::fail, [](Rig& rig) { rig.cluster.replica.facts.settings["max_connections"] = "50"; }},
    Case{"not_read_only", Level::fail, [](Rig& rig) { rig.cluster.primary.state.default_read_only = true; }},
    Case{"not_read_only", Level::fail, [](Rig& rig) { rig.cluster.replica.state.default_read_only = true; }},
    Case{"synchronous_standbys", Level::fail,
         [](Rig& rig) { rig.cluster.replica.facts.settings["synchronous_standby_names"] = "*"; }},
    Case{"archiving", Level::warn, [](Rig& rig) { rig.cluster.primary.facts.settings["archive_mode"] = "on"; }},
    Case{"libraries", Level::warn,
         [](Rig& rig) { rig.cluster.primary.facts.settings["shared_preload_libraries"] = "auto_explain"; }},
    Case{"prepared_transactions", Level::fail, [](Rig& rig) { rig.cluster.primary.facts.prepared_transactions = 1; }},
    Case{"read_only_exceptions", Level::fail,
         [](Rig& rig) { rig.cluster.primary.read_only_exceptions = {"app in every database"}; }},
    Case{"long_transactions", Level::warn,
         [](Rig& rig) { rig.cluster.primary.facts.oldest_transaction = std::chrono::minutes(1); }},
    Case{"idle_transactions", Level::warn, [](Rig& rig) { rig.cluster.primary.facts.idle_in_transaction = 2; }},
    Case{"advisory_locks", Level::warn, [](Rig& rig) { rig.cluster.primary.facts.advisory_lock_sessions = 1; }},
    Case{"unlogged_tables", Level::warn, [](Rig& rig) { rig.cluster.primary.database.unlogged_tables = {"cache"}; }},
    Case{"invalid_indexes", Level::warn, [](Rig& rig) { rig.cluster.primary.database.invalid_indexes = {"broken"}; }},
    Case{"other_standbys", Level::warn,
         [](Rig& rig) {
           Standby other;
           other.name = other.application_name = "reports";
           rig.cluster.primary.state.standbys.push_back(other);
         }},
    Case{"other_standbys", Level::fail,
         [](Rig& rig) { rig.servers.siblings.push_back(rig.cluster.node(Side::primary)); }},
    Case{"shutdown", Level::warn,
         [](Rig& rig) {
           rig.options.demotion = Demotion::stop;
           Standby other;
           other.name = other.application_name = "pg_receivewal";
           rig.cluster.primary.state.standbys.push_back(other);
         }},
    Case{"superuser_sessions", Level::fail, [](Rig& rig) { rig.cluster.primary.facts.superuser_sessions = 1; }},
    Case{"subscriptions", Level::fail,
         [](Rig& rig) {
           rig.cluster.primary.facts.subscriptions = {{"sub", "other", true}};
         }},
    Case{"subscriptions", Level::warn,
         [](Rig& rig) {
           rig.cluster.primary.facts.subscriptions = {{"sub", "testdb", true}};
         }},
    Case{"fence_form", Level::fail,
         [](Rig& rig) { rig.options.pair.old_primary = rig.options.pair.old_primary.with("dbname", "postgres"); }},
    Case{"wedge", Level::warn, [](Rig& rig) { rig.cluster.primary.wedge_exceptions = {"app in every database"}; }},
    Case{"wedge", Level::warn, [](Rig& rig) { rig.cluster.primary.facts.settings["synchronous_commit"] = "local"; }},
    Case{"wedge", Level::fail,
         [](Rig& rig) {
           rig.cluster.primary.facts.settings["synchronous_commit"] = "off";
           rig.options.fence = FenceForm::read_only;
         }},
    Case{"fence_form", Level::warn, [](Rig& rig) { rig.cluster.primary.facts.databases[0].may_alter = false; }},
    Case{"fence_form", Level::fail,
         [](Rig& rig) {
           rig.cluster.primary.facts.databases.push_back({"gr\xEF\xBF\xBD\xEF\xBF\xBD" "e", "app", true, true, false});
         }},
    Case{"fence_form", Level::fail,
         [](Rig& rig) {
           rig.options.demotion = Demotion::closed;
           rig.cluster.primary.facts.databases[0].may_alter = false;
         }},
    Case{"logical_slots", Level::fail, [](Rig& rig) { rig.cluster.primary.facts.logical_slots = {"debezium"}; }},
    Case{"publications", Level::warn,
         [](Rig& rig) {
           rig.cluster.primary.facts.logical_slots = {"everything"};
           rig.cluster.primary.database.probe_publications = {"everything"};
         }},
    Case{"logical_slots", Level::fail, [](Rig& rig) { slot_on_both(rig, 160000, Lsn(fakes::here.bytes() + 1)); }},
    Case{"logical_slots", Level::warn,
         [](Rig& rig) {
           slot_on_both(rig, 170000, fakes::here);
           rig.cluster.replica.facts.settings["synchronized_standby_slots"] = "replica_slot";
         }},
    Case{"fence_rights", Level::fail, [](Rig& rig) { rig.cluster.primary.facts.rights["pg_signal_backend"] = false; }},
    Case{"promote_rights", Level::fail, [](Rig& rig) { rig.cluster.replica.facts.rights["pg_promote"] = false; }},
    Case{"alignment_rights", Level::warn, [](Rig& rig) { rig.cluster.primary.facts.rights["pg_switch_wal"] = false; }},
    Case{"alignment_rights", Level::warn,
         [](Rig& rig) { rig.cluster.replica.facts.rights["ALTER SYSTEM wal_init_zero"] = false; }},
    Case{"demotion_rights", Level::fail,
         [](Rig& rig) {
           rig.options.demotion = Demotion::standby;
           rig.cluster.replica.facts.rights["REPLICATION"] = false;
         }},
    Case{"node_control", Level::fail,
         [](Rig& rig) {
           rig.options.demotion = Demotion::standby;
           rig.control.trouble = "no right to stop it";
         }},
    Case{"traffic", Level::fail, [](Rig& rig) { rig.traffic->trouble = "it is paused already"; }},
    Case{"traffic", Level::warn, [](Rig& rig) { rig.drivers.clear(); }},
    Case{"state_directory", Level::fail, [](Rig& rig) { rig.options.state_dir = "/proc/nothing"; }},
};

class Checks : public testing::TestWithParam<Case> {};

TEST_P(Checks, FailsForItsReasonAndPassesOtherwise) {
  Rig healthy;
  EXPECT_EQ(verdict_of(healthy, GetParam().check).level, Level::pass) << verdict_of(healthy, GetParam().check).reason;
  Rig rig;
  GetParam().spoil(rig);
  const Verdict verdict = verdict_of(rig, GetParam().check);
  EXPECT_EQ(to_string(verdict.level), to_string(GetParam().level)) << verdict.reason;
  EXPECT_NE(verdict.reason, "");
  if (verdict.level == Level::fail || verdict.level == Level::warn) {
    EXPECT_NE(verdict.hint, "");
  }
}

TEST(ChecksTable, LogicalSlotsThatAreOnTheReplicaTooAreKept) {
  Rig by_hand, synchronised, awaited;
  slot_on_both(by_hand, 160000, fakes::here);
  slot_on_both(synchronised, 170000, Lsn(fakes::here.bytes() + 1));  // which was sampled a little later
  slot_on_both(awaited, 170000, fakes::here);
  awaited.options.demotion = Demotion::standby;
  awaited.cluster.replica.facts.settings["synchronized_standby_slots"] = awaited.options.standby_slot;
  for (Rig* const rig : {&by_hand, &synchronised, &awaited}) {
    const Verdict verdict = verdict_of(*rig, "logical_slots");
    EXPECT_EQ(verdict.level, Level::pass) << verdict.reason;
    EXPECT_THAT(verdict.reason, testing::HasSubstr("consumer"));
  }
}

INSTANTIATE_TEST_SUITE_P(EachRow, Checks, testing::ValuesIn(cases));

TEST(ChecksTable, EveryCheckHasACaseAndANameOfItsOwn) {
  std::set<std::string_view> names, tested;
  for (const Case& row : cases) tested.insert(row.check);
  for (const Check& check : checks()) {
    EXPECT_TRUE(names.insert(check.name).second) << check.name;
    EXPECT_TRUE(tested.contains(check.name)) << check.name;
  }
}

/// After a cutover, in both directions: who is the primary is named, and nothing is hinted that lifts the fence.
TEST(ChecksTable, ADemotedServerIsNamedAsSuch) {
  for (const Side demoted : both_sides) {
    Rig rig;
    rig.cluster.replica_is_promoted();
    rig.cluster[demoted].override = {.read_only = "on", .standby_names = "pgrm_20270115T080000Z_test"};
    const Facts facts = gather_facts(rig.servers, rig.exporter, rig.drivers, rig.control, rig.options, rig.clock);
    const auto findings = judge(facts);
    const auto roles = std::ranges::find_if(findings, [](const Finding& f) { return f.check->name == "roles"; });
    const std::string primary = demoted == Side::primary ? "new:5432" : "old:5432";
    EXPECT_THAT(roles->verdict.reason, testing::HasSubstr(primary + " is the primary"));
    EXPECT_THAT(roles->verdict.hint, testing::HasSubstr("agent rejoin"));
  }
}

TEST(ChecksTable, AnExporterOfAnotherPairIsNoWitness) {
  Rig rig;
  FakeCluster other;
  other.primary.state.system_identifier = other.replica.state.system_identifier = "42";
  FakeExporter stranger(other);
  const Facts facts = gather_facts(rig.servers, stranger, rig.drivers, rig.control, rig.options, rig.clock);
  EXPECT_FALSE(passed(judge(facts)));
}

TEST(ChecksTable, AHealthyPairPasses) {
  Rig rig;
  const Facts facts = gather_facts(rig.servers, rig.exporter, rig.drivers, rig.control, rig.options, rig.clock);
  for (const Finding& finding : judge(facts)) {
    EXPECT_EQ(finding.verdict.level, Level::pass) << finding.check->name << ": " << finding.verdict.reason;
  }
}

}  // namespace
}  // namespace pgrm::agent
