#include "core/pg/server_node.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <thread>

#include "core/base/error.h"
#include "core/base/wait.h"
#include "core/pg/session.h"
#include "tests/integration/lab_pair.h"

namespace pgrm {
namespace {

using testing::HasSubstr;

constexpr auto soon = std::chrono::seconds(10);
constexpr auto tick = std::chrono::milliseconds(1);

const Overrides read_only{.read_only = "on", .standby_names = std::nullopt};
const Overrides fenced{.read_only = "on", .standby_names = "pgrm_demoted"};

std::unique_ptr<Node> agent_on(const Conninfo& server) {
  return make_server_node(server, {.application_name = "pgrm-agent/test", .observer_timeout = std::nullopt});
}

class ServerNodeTest : public testing::Test {
 protected:
  const LabPair& lab_ = LabPair::get();
  Pair admin_ = lab_.as("pgrm_agent", "postgres");
  Pair application_ = lab_.as("pgrm_agent");
  std::unique_ptr<Node> primary_ = agent_on(admin_.primary);
  std::unique_ptr<Node> replica_ = agent_on(admin_.replica);

  /// Whether that row of a probe is on the primary.
  bool probe_present(const std::string& cutover_id) const {
    static constexpr Statement statement{
        "probe_present", "SELECT EXISTS (SELECT FROM pgrm.cutover_probe WHERE cutover = $1) AS present"};
    Session session(lab_.as("postgres").primary, "judge");
    session.open(soon);
    return session.execute(statement, {cutover_id}, soon).one().boolean("present").value();
  }
};

TEST_F(ServerNodeTest, ObservesAPrimaryAndItsStandby) {
  const auto streaming = [&] {
    const ServerState state = primary_->observe(soon);
    return state.standbys.size() == 1 && state.standbys.front().state == "streaming" &&
           state.standbys.front().replay >= state.wal_flush;
  };
  ASSERT_EQ(wait_until(system_clock(), soon, tick, {}, streaming), WaitEnd::reached);
  const ServerState primary = primary_->observe(soon);
  const ServerState replica = replica_->observe(soon);
  EXPECT_FALSE(primary.in_recovery);
  EXPECT_TRUE(replica.in_recovery);
  EXPECT_GE(primary.version, 130000);
  EXPECT_EQ(primary.system_identifier, replica.system_identifier);
  EXPECT_EQ(primary.timeline, 1U);
  EXPECT_EQ(replica.timeline, 1U);
  EXPECT_TRUE(primary.full_view);
  EXPECT_FALSE(primary.default_read_only);
  EXPECT_EQ(primary.standbys.front().name, "replica_slot");
  ASSERT_EQ(primary.slots.size(), 1U);
  EXPECT_TRUE(primary.slots.front().active);
  EXPECT_EQ(primary.slots.front().type, "physical");
  EXPECT_FALSE(primary.wal_replay || primary.receiver || primary.replay_paused);
  EXPECT_FALSE(replica.wal_insert || replica.wal_flush);
  ASSERT_TRUE(replica.receiver && replica.wal_replay);
  EXPECT_EQ(replica.receiver->status, "streaming");
  EXPECT_EQ(replica.receiver->slot, "replica_slot");
  EXPECT_EQ(replica.replay_paused, false);
  EXPECT_GT(primary.connections, 0);
  EXPECT_FALSE(primary.statistics) << "the agent does not need them";
}

TEST_F(ServerNodeTest, AnObserverSeesTheStatisticsToo) {
  const auto observer = make_server_node(lab_.as("pgrm_monitor", "postgres").primary,
                                         {.application_name = "observer", .observer_timeout = std::chrono::seconds(2)});
  const ServerState state = observer->observe(soon);
  for (const Collector& collector : state.collectors) EXPECT_EQ(collector.error, "") << collector.name;
  ASSERT_TRUE(state.statistics);
  EXPECT_GE(state.statistics->connections.at("active"), 1) << "its own";
  EXPECT_TRUE(state.statistics->accepting_connections);
  EXPECT_EQ(state.statistics->wal_bytes.has_value(), state.version >= 140000);
  EXPECT_EQ(state.statistics->restartpoints.has_value(), state.version >= 170000);
  EXPECT_EQ(state.statistics->recovery_conflicts.contains("logical_slot"), state.version >= 160000);
}

TEST_F(ServerNodeTest, WithoutPgMonitorItSaysSoInsteadOfZero) {
  const auto blind = make_server_node(lab_.as("pgrm_app").primary,
                                      {.application_name = "blind", .observer_timeout = std::chrono::seconds(1)});
  const ServerState state = blind->observe(soon);
  EXPECT_FALSE(state.full_view);
  ASSERT_EQ(state.standbys.size(), 1U);
  EXPECT_FALSE(state.standbys.front().state || state.standbys.front().replay);
}

TEST_F(ServerNodeTest, TheAgentsRoleHasEveryRightAndIsNoSuperuserWhereThatIsPossible) {
  const ServerFacts facts = primary_->facts(soon);
  for (const auto& [right, held] : facts.rights) {
    // A role that may set a command runs programs as the server's user: roles.sql gives that to nobody.
    const bool withheld = right == "ALTER SYSTEM restore_command" && !facts.superuser;
    EXPECT_EQ(held, !withheld) << right;
  }
  EXPECT_EQ(facts.superuser, primary_->observe(soon).version < 150000);
  EXPECT_TRUE(agent_on(application_.primary)->may_write_probe(soon));
  EXPECT_EQ(facts.settings.at("recovery_min_apply_delay"), "0");
}

TEST_F(ServerNodeTest, AnObserverCannotWrite) {
  const auto observer = make_server_node(application_.primary,
                                         {.application_name = "observer", .observer_timeout = std::chrono::seconds(1)});
  EXPECT_THAT(observer->write_probe("observer", soon).get().refusal, HasSubstr("25006"));
}

TEST_F(ServerNodeTest, ALockOnACatalogHidesFromAnObserverOnlyWhatItBlocks) {
  const auto observer = make_server_node(
      admin_.primary, {.application_name = "observer", .observer_timeout = std::chrono::milliseconds(100)});
  ASSERT_GT(observer->observe(soon).version, 0);
  Session locker(lab_.as("postgres", "postgres").primary, "locker");
  locker.open(soon);
  locker.script("BEGIN; LOCK TABLE pg_catalog.pg_authid IN ACCESS EXCLUSIVE MODE", soon);
  const ServerState state = observer->observe(soon);
  EXPECT_TRUE(state.wal_flush) << "what names no catalog is not held up";
  EXPECT_FALSE(state.replication_known) << "the lock did not block what it should";
  EXPECT_FALSE(state.statistics);
  for (const Collector& collector : state.collectors) {
    if (collector.name == "upkeep") continue;  // asked a moment ago, and not again within a minute
    EXPECT_EQ(collector.error.empty(), collector.name == "server") << collector.error;
  }
  locker.script("ROLLBACK", soon);
  EXPECT_TRUE(observer->observe(soon).replication_known) << "the same session, nothing left behind";
}

TEST_F(ServerNodeTest, OverridesTheReadOnlyDefaultForEveryNewSessionAndResets) {
  const auto application = agent_on(application_.primary);
  EXPECT_EQ(primary_->fence_view(soon).overrides, Overrides());
  primary_->override_settings(read_only, soon);
  EXPECT_EQ(primary_->fence_view(soon).overrides, read_only);
  EXPECT_TRUE(primary_->observe(soon).default_read_only);
  const WriteProbe refused = application->write_probe("fenced", soon).get();
  EXPECT_FALSE(refused.accepted);
  EXPECT_THAT(refused.refusal, HasSubstr("25006"));
  EXPECT_FALSE(agent_on(application_.primary)->write_probe("fenced", soon).get().accepted) << "a new session";
  primary_->override_settings({}, soon);
  EXPECT_EQ(primary_->fence_view(soon).overrides, Overrides());
  EXPECT_TRUE(application->write_probe("open", soon).get().accepted);
  EXPECT_TRUE(probe_present("open"));
  EXPECT_FALSE(probe_present("fenced"));
}

TEST_F(ServerNodeTest, WritesARowAndReadsItBackOverASessionThatIsPreparedOrNot) {
  const auto application = agent_on(application_.primary);
  for (const std::string row : {"new", "it's used"}) {
    const WriteProbe probe = application->write_and_read(row, soon);
    EXPECT_TRUE(probe.accepted && probe.reads_back) << probe.refusal;
    EXPECT_TRUE(probe_present(row));
    application->prepare_orders(soon);
  }
  const auto standby = agent_on(application_.replica);
  const WriteProbe refused = standby->write_and_read("refused", soon);
  EXPECT_TRUE(refused.read_only && !refused.accepted) << refused.refusal;
  EXPECT_TRUE(standby->may_write_probe(soon)) << "the session goes on";
}

TEST_F(ServerNodeTest, NamesAndEndsTheSessionsThatMayWantToWrite) {
  Session application(lab_.as("pgrm_app").primary, "the shop");
  Session listener(lab_.as("pgrm_app").primary, "a listener");
  Session monitor(lab_.as("pgrm_monitor").primary, "somebody's monitoring");
  Session superuser(lab_.as("postgres").primary, "a person");
  for (Session* const session : {&application, &listener, &monitor, &superuser}) session->open(soon);
  listener.script("LISTEN news", soon);
  const auto named = [](const std::vector<Writer>& writers, const std::string& application_name) {
    return std::ranges::find(writers, application_name, &Writer::application_name);
  };
  const auto seen = primary_->writers(soon);
  ASSERT_NE(named(seen, "the shop"), seen.end());
  const Writer& shop = *named(seen, "the shop");
  EXPECT_EQ(shop.pid, application.backend_pid());
  EXPECT_EQ(shop.user, "pgrm_app");
  EXPECT_EQ(shop.database, "testdb");
  EXPECT_EQ(shop.state, "idle");
  EXPECT_FALSE(shop.address.empty());
  EXPECT_FALSE(shop.listens);
  EXPECT_LT(std::chrono::abs(system_clock().wall() - shop.since), std::chrono::minutes(1));
  ASSERT_NE(named(seen, "a listener"), seen.end());
  EXPECT_TRUE(named(seen, "a listener")->listens);
  for (const char* const other : {"somebody's monitoring", "a person", "pgrm-agent/test"}) {
    EXPECT_EQ(named(seen, other), seen.end()) << other;
  }

  superuser.script("ALTER ROLE pgrm_app IN DATABASE testdb SET default_transaction_read_only = on", soon);
  const auto only_readers = primary_->writers(soon);
  EXPECT_EQ(named(only_readers, "the shop"), only_readers.end());
  superuser.script("ALTER ROLE pgrm_app IN DATABASE testdb RESET default_transaction_read_only", soon);

  const auto ended = primary_->end_writers(soon);
  EXPECT_NE(named(ended, "the shop"), ended.end());
  const auto gone = [&] {
    const auto left = primary_->writers(soon);
    return named(left, "the shop") == left.end() && named(left, "a listener") == left.end();
  };
  EXPECT_EQ(wait_until(system_clock(), soon, tick, {}, gone), WaitEnd::reached);
  monitor.script("SELECT", soon);
  superuser.script("SELECT", soon);
}

TEST_F(ServerNodeTest, FillsAndEndsAWalSegmentWithoutATransaction) {
  constexpr std::uint64_t segment = 16 << 20;
  const WalEnd before = primary_->wal_end(soon);
  primary_->fill_wal((3 << 20) + 17, soon);
  const WalEnd filled = primary_->wal_end(soon);
  EXPECT_GE(distance(before.insert, filled.insert), 3 << 20);
  EXPECT_LE(distance(before.insert, filled.insert), 4 << 20);
  const std::int64_t left = static_cast<std::int64_t>(segment - filled.insert.bytes() % segment);
  EXPECT_FALSE(primary_->switch_wal(left / 2, soon));
  EXPECT_TRUE(primary_->switch_wal(left, soon));
  const WalEnd after = primary_->wal_end(soon);
  EXPECT_EQ(after.flush.bytes(), (filled.insert.bytes() / segment + 1) * segment);
  EXPECT_EQ(after.next_xid, before.next_xid);
  const auto replayed = [&] { return replica_->wal_replayed(soon) >= after.flush; };
  EXPECT_EQ(wait_until(system_clock(), soon, tick, {}, replayed), WaitEnd::reached);
}

TEST_F(ServerNodeTest, SettingsOfAStandbyGoAndCome) {
  const auto in_effect = [&] {
    Session anew(admin_.replica, "anew");
    anew.open(soon);
    return anew.script("SHOW wal_init_zero", soon).one().text("wal_init_zero");
  };
  const std::vector<std::string> names{"restore_command", "wal_init_zero"};
  const SystemSettings none{{"restore_command", std::nullopt}, {"wal_init_zero", std::nullopt}};
  const SystemSettings set{{"restore_command", "cp '/nowhere/%f' \"%p\""}, {"wal_init_zero", "off"}};
  const auto allowed = agent_on(lab_.as("postgres", "postgres").replica);
  EXPECT_EQ(allowed->system_settings(names, soon), none);
  allowed->set_system_settings(set, soon);
  EXPECT_EQ(allowed->system_settings(names, soon), set);
  EXPECT_EQ(in_effect(), "off");
  allowed->set_system_settings(none, soon);
  EXPECT_EQ(allowed->system_settings(names, soon), none);
  EXPECT_EQ(in_effect(), "on");
}

TEST_F(ServerNodeTest, FindsAndEndsOtherSessionsButNotItsOwn) {
  Session client(lab_.as("pgrm_app").primary, "a_client");
  client.open(soon);
  const auto mine = agent_on(application_.primary);
  ASSERT_TRUE(mine->may_write_probe(soon));
  const auto there = [&](const Session& session) {
    int found = 0;
    for (const ClientSession& other : primary_->client_sessions(soon)) {
      EXPECT_NE(other.application_name, "pgrm-agent/test");
      if (other.pid == session.backend_pid()) ++found;
    }
    return found;
  };
  const auto ended = [&](Began began, const Session& session) {
    return std::ranges::count(primary_->end_sessions(began, {}, {}, soon).left, session.backend_pid(),
                              &ClientSession::pid);
  };
  const auto gone = [&](const Session& session) {
    return wait_until(system_clock(), soon, tick, {}, [&] { return there(session) == 0; }) == WaitEnd::reached;
  };
  EXPECT_EQ(there(client), 1);
  EXPECT_EQ(ended(Began::in_databases, client), 0);
  const Reload reload = primary_->order_reload(soon);
  primary_->await_reload(reload, soon);
  EXPECT_NE(primary_->end_sessions(Began::in_databases, {}, {}, soon).loaded, reload.loaded_before);
  Session later(lab_.as("pgrm_app").primary, "a_later_client");
  later.open(soon);
  EXPECT_EQ(ended(Began::before_reload, later), 0);
  EXPECT_TRUE(gone(client)) << "it began before the reload";
  EXPECT_EQ(there(later), 1);
  EXPECT_EQ(ended(Began::whenever, later), 1);
  EXPECT_TRUE(gone(later));

  later.close();
  later.open(soon);
  const EndingSessions both = primary_->reload_and_end_sessions({application_.primary.get("dbname")}, soon);
  EXPECT_EQ(std::ranges::count(both.left, later.backend_pid(), &ClientSession::pid), 1);
  EXPECT_TRUE(gone(later));
  primary_->await_reload({both.loaded}, soon);
}

TEST_F(ServerNodeTest, ReadsTheNextTransactionIdWithoutUsingOne) {
  const WalEnd first = primary_->wal_end(soon);
  const WalEnd second = primary_->wal_end(soon);
  EXPECT_EQ(first.next_xid, second.next_xid);
  EXPECT_LE(first.flush, first.insert);
  ASSERT_TRUE(agent_on(application_.primary)->write_probe("xid", soon).get().accepted);
  EXPECT_EQ(primary_->wal_end(soon).next_xid, second.next_xid + 1);
}

TEST_F(ServerNodeTest, FlushesWalWithOneTransactionIdEvenBehindAReadOnlyDefault) {
  Session client(lab_.as("pgrm_app").primary, "asynchronous");
  client.open(soon);
  primary_->override_settings(read_only, soon);
  client.script("BEGIN READ WRITE; SET LOCAL synchronous_commit = off; CREATE TABLE unflushed (i int); COMMIT", soon);
  const WalEnd before = primary_->wal_end(soon);
  primary_->flush_wal(soon);
  const WalEnd after = primary_->wal_end(soon);
  EXPECT_GE(after.flush, before.insert);
  EXPECT_EQ(after.next_xid, before.next_xid + 1);
  client.script("BEGIN READ WRITE; DROP TABLE unflushed; COMMIT", soon);
  primary_->override_settings({}, soon);
}

TEST_F(ServerNodeTest, AnObserverCallsAgainWhenTheServerHasHungUp) {
  const auto observer = make_server_node(
      admin_.primary, {.application_name = "hung_up_observer", .observer_timeout = std::chrono::seconds(1)});
  observer->observe(soon);
  std::set<int> asked;
  const auto count = [&] {
    int found = 0;
    for (const ClientSession& session : primary_->end_sessions(Began::whenever, {}, asked, soon).left) {
      asked.insert(session.pid);
      if (session.application_name == "hung_up_observer") ++found;
    }
    return found;
  };
  ASSERT_EQ(count(), 1);
  ASSERT_EQ(wait_until(system_clock(), soon, tick, {}, [&] { return count() == 0; }), WaitEnd::reached);
  EXPECT_GT(observer->observe(soon).version, 0);
}

TEST_F(ServerNodeTest, AStandbyRefusesAWriteAndReplaysWhatThePrimaryFlushed) {
  EXPECT_TRUE(replica_->in_recovery(soon));
  EXPECT_THAT(agent_on(application_.replica)->write_probe("standby", soon).get().refusal, HasSubstr("25006"));
  const Lsn end = primary_->wal_end(soon).flush;
  EXPECT_EQ(wait_until(system_clock(), soon, tick, {}, [&] { return replica_->wal_replayed(soon) >= end; }),
            WaitEnd::reached);
}

TEST_F(ServerNodeTest, OneAgentHoldsTheLock) {
  EXPECT_EQ(primary_->lock_holder(soon), "");
  ASSERT_TRUE(primary_->try_lock(soon));
  const auto second = agent_on(admin_.primary);
  EXPECT_FALSE(second->try_lock(soon));
  EXPECT_THAT(second->lock_holder(soon), testing::MatchesRegex("pgrm-agent/test \\(pid .*, from 127.0.0.1, since .*"));
  primary_->disconnect();
  EXPECT_EQ(wait_until(system_clock(), soon, tick, {}, [&] { return second->try_lock(soon); }), WaitEnd::reached);
}

/// An advisory lock belongs to a database: an agent with another maintenance database is a second one all the same.
TEST_F(ServerNodeTest, OneAgentHoldsTheLockWhateverItsMaintenanceDatabase) {
  ASSERT_TRUE(primary_->try_lock(soon));
  const auto elsewhere = agent_on(application_.primary);
  EXPECT_FALSE(elsewhere->try_lock(soon));
  EXPECT_FALSE(elsewhere->holds_lock(soon));
  EXPECT_THAT(elsewhere->lock_holder(soon), HasSubstr("pgrm-agent/test"));
  primary_->disconnect();
  EXPECT_EQ(wait_until(system_clock(), soon, tick, {}, [&] { return elsewhere->try_lock(soon); }), WaitEnd::reached);
}

/// An application may use the same number for a lock in its own database.
TEST_F(ServerNodeTest, TheLockOfAnApplicationIsNoAgents) {
  Session application(lab_.as("pgrm_app").primary, "shop");
  application.open(soon);
  application.script("SELECT pg_advisory_lock(x'7067726d637574'::bigint)", soon);
  EXPECT_TRUE(primary_->try_lock(soon));
  EXPECT_THAT(primary_->lock_holder(soon), HasSubstr("pgrm-agent/test"));
}

TEST_F(ServerNodeTest, EndsASessionOfItsOwnThatHasTheLock) {
  const auto cut_off = agent_on(admin_.primary);
  ASSERT_TRUE(cut_off->try_lock(soon));
  const auto stranger =
      make_server_node(admin_.primary, {.application_name = "pgrm-agent/other", .observer_timeout = std::nullopt});
  EXPECT_FALSE(stranger->end_own_lock(soon));
  EXPECT_TRUE(primary_->end_own_lock(soon));
  EXPECT_EQ(wait_until(system_clock(), soon, tick, {}, [&] { return primary_->try_lock(soon); }), WaitEnd::reached);
  EXPECT_FALSE(primary_->end_own_lock(soon)) << "it holds it itself";
}

TEST_F(ServerNodeTest, RefusesAServerThatIsNotTheOneMeant) {
  replica_->in_recovery(soon);  // a session from before stays
  for (Node* const node : {primary_.get(), replica_.get()}) {
    node->refuse_strangers(
        [](const Identity& seen) { return std::string(seen.in_recovery ? "" : "leads to a primary"); });
  }
  EXPECT_TRUE(replica_->in_recovery(soon));
  EXPECT_FALSE(primary_->fresh_identity(soon).get().in_recovery) << "a look says what is there";
  try {
    primary_->wal_end(soon);
    ADD_FAILURE() << "it answers";
  } catch (const Error& refused) {
    EXPECT_EQ(refused.code(), ErrorCode::unreachable);
    EXPECT_THAT(refused.what(), HasSubstr(admin_.primary.address() + " leads to a primary"));
  }
  EXPECT_FALSE(primary_->is_connected());
}

TEST_F(ServerNodeTest, SeesTheNextWalSegment) {
  Session judge(lab_.as("postgres").primary, "judge");
  judge.open(soon);
  const auto next = [&] {
    return judge
        .script(
            "SELECT count(*) AS files FROM pg_ls_waldir() WHERE name > pg_walfile_name(pg_current_wal_lsn()) AND "
            "name ~ '^[0-9A-F]{24}$'",
            soon)
        .one()
        .integer("files");
  };
  judge.script("SELECT pg_switch_wal()", soon);
  // Three quarters of a segment are used: a checkpoint makes the next one (PreallocXlogFiles).
  primary_->fill_wal(13 << 20, soon);
  primary_->checkpoint(soon);
  EXPECT_GT(next(), 0);
  EXPECT_TRUE(primary_->has_next_segment(soon));
}

/// The name is looked up once, and a session that is opened anew goes where the first one went.
TEST_F(ServerNodeTest, LooksANameUpOnce) {
  Session session(admin_.primary.with("host", "localhost"), "pgrm-agent/test");
  session.open(soon);
  session.keep_address();
  EXPECT_THAT(session.conninfo().get("hostaddr"), testing::AnyOf("127.0.0.1", "::1"));
  EXPECT_EQ(session.conninfo().address(), "localhost:" + admin_.primary.port());
  session.close();
  session.open(soon);
  EXPECT_TRUE(session.is_open());
}

/// A server may come back with another address.
TEST_F(ServerNodeTest, LooksANameUpAgainWhenItsAddressDoesNotAnswer) {
  Session session(admin_.primary.with("host", "localhost").with("port", "1"), "pgrm-agent/test");
  EXPECT_THROW(session.open(soon), Error);
  EXPECT_FALSE(session.by_name());
  Session other(admin_.primary.with("host", "localhost"), "pgrm-agent/test");
  other.open(soon);
  other.keep_address();
  EXPECT_EQ(other.by_name()->get("hostaddr"), "");
}

TEST_F(ServerNodeTest, SeesTransactionsOfEverybody) {
  const auto idle = [&] { return primary_->wal_end(soon).idle; };
  ASSERT_EQ(wait_until(system_clock(), soon, tick, {}, idle), WaitEnd::reached);
  Session client(lab_.as("pgrm_app").primary, "a_writer");
  client.open(soon);
  client.script("BEGIN; CREATE TABLE open_transaction (i int)", soon);
  EXPECT_FALSE(idle());
  client.script("ROLLBACK", soon);
  EXPECT_EQ(wait_until(system_clock(), soon, tick, {}, idle), WaitEnd::reached);
}

TEST_F(ServerNodeTest, FindsReadOnlySettingsOfRolesAndDatabases) {
  EXPECT_THAT(primary_->fence_view(soon).read_only_exceptions, testing::IsEmpty());
  Session owner(lab_.as("postgres").primary, "owner");
  owner.open(soon);
  owner.script("ALTER ROLE pgrm_app IN DATABASE testdb SET default_transaction_read_only = off", soon);
  EXPECT_THAT(primary_->fence_view(soon).read_only_exceptions, testing::ElementsAre("pgrm_app in testdb"));
  owner.script("ALTER ROLE pgrm_app IN DATABASE testdb RESET default_transaction_read_only", soon);
}

TEST_F(ServerNodeTest, AWalsenderThatSpeaksSqlIsASessionToEnd) {
  Session walsender(lab_.as("postgres").primary.with("replication", "database"), "sql_walsender");
  walsender.open(soon);
  std::vector<std::string> found;
  for (const ClientSession& session : primary_->client_sessions(soon)) {
    found.push_back(session.application_name);
  }
  EXPECT_THAT(found, testing::Contains("sql_walsender"));
  EXPECT_THAT(found, testing::Not(testing::Contains("replica")));
}

TEST_F(ServerNodeTest, KnowsWhetherTheServerAcceptsConnections) {
  EXPECT_TRUE(replica_->accepts_connections(soon).get());
  EXPECT_FALSE(agent_on(admin_.replica.with("port", "1"))->accepts_connections(soon).get());
}

TEST_F(ServerNodeTest, TheGateShutsEverybodyOutOnBothServersAndOpensAgain) {
  const auto inside = agent_on(application_.primary);
  ASSERT_TRUE(inside->may_write_probe(soon));
  const std::vector<std::string> gate{"testdb"};
  const std::uint64_t next = primary_->wal_end(soon).next_xid;
  primary_->allow_connections(gate, false, soon).get();
  EXPECT_EQ(primary_->wal_end(soon).next_xid, next + 1);
  EXPECT_FALSE(primary_->fence_view(soon).databases.front().open);
  for (const std::string role : {"pgrm_app", "postgres"}) {
    const auto outside = agent_on(lab_.as(role).primary);
    EXPECT_TRUE(outside->attack({.role = "", .overrides_read_only = true}, soon).get().shut_out) << role;
    EXPECT_THROW(outside->write_probe("outside", soon).get(), Error) << role;
  }
  EXPECT_TRUE(inside->write_probe("inside", soon).get().accepted) << "the gate alone ends nobody";
  const auto replicated = [&] { return !replica_->fence_view(soon).databases.front().open; };
  EXPECT_EQ(wait_until(system_clock(), soon, tick, {}, replicated), WaitEnd::reached);
  primary_->allow_connections(gate, true, soon).get();
  EXPECT_TRUE(agent_on(application_.primary)->write_probe("open", soon).get().accepted);
}

TEST_F(ServerNodeTest, AttacksAsTheApplicationAndLeavesNothingBehind) {
  const auto application = agent_on(application_.primary);
  const auto count = [&] { return primary_->wal_end(soon).next_xid; };
  const Attack harmless{.role = "pgrm_app", .overrides_read_only = false, .writes = false};
  const std::uint64_t first = count();
  EXPECT_TRUE(application->attack(harmless, soon).get().accepted);
  EXPECT_EQ(count(), first) << "it only asks whether it may write";
  EXPECT_TRUE(application->attack({.role = "pgrm_app", .overrides_read_only = false}, soon).get().accepted);
  EXPECT_FALSE(probe_present("attack"));
  primary_->override_settings(read_only, soon);
  const std::uint64_t before = count();
  const WriteProbe plain = application->attack({.role = "pgrm_app", .overrides_read_only = false}, soon).get();
  EXPECT_TRUE(plain.read_only) << plain.refusal;
  EXPECT_EQ(count(), before);
  EXPECT_TRUE(application->attack(harmless, soon).get().read_only);
  EXPECT_TRUE(application->attack({.role = "pgrm_app", .overrides_read_only = true}, soon).get().accepted)
      << "if this is refused some day, the read-only default has become a fence";
  primary_->override_settings({}, soon);
}

TEST_F(ServerNodeTest, TheWedgeKeepsAnOverridingClientWaitingAndNotTheAgent) {
  Session hostile(lab_.as("pgrm_app").primary.with("options", "-c default_transaction_read_only=off"), "hostile");
  hostile.open(soon);
  hostile.script("CREATE TABLE wedged (i int)", soon);
  primary_->override_settings(fenced, soon);
  // The checkpointer tells the sessions of it in its own time: the first commits may still pass.
  const auto stuck = [&] {
    try {
      hostile.script("INSERT INTO wedged VALUES (1)", std::chrono::seconds(1));
      return false;
    } catch (const Error& error) {
      return error.code() == ErrorCode::timeout;
    }
  };
  EXPECT_EQ(wait_until(system_clock(), soon, tick, {}, stuck), WaitEnd::reached);
  primary_->allow_connections({"testdb"}, true, soon).get();
  primary_->flush_wal(soon);
  primary_->override_settings({}, soon);
  hostile.close();
  hostile.open(soon);
  hostile.script("DROP TABLE wedged", soon);
}

/// Settings that would end a session, cut short what it asks, or change what it sees; made by the test's superuser, and
/// taken back at its end.
class HostileSettings {
 public:
  /// `set`: "ALTER ROLE x SET " and the like; `reset` the same with RESET.
  HostileSettings(const LabPair& lab, std::string set, std::string reset)
      : admin_(lab.as("postgres", "postgres").primary, "hostile settings"),
        replica_(lab.as("postgres", "postgres").replica, "hostile settings"),
        reset_(std::move(reset)) {
    for (Session* const session : {&admin_, &replica_}) {
      session->open(soon);
      std::string script = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED";  // what came before may still be in effect
      for (const Row& row : table) {
        if (session->server_version() >= row.since) script += "; SET " + std::string(row.name) + " = " + row.harmless;
      }
      session->script(script, soon);
    }
    for (const Row& row : table) {
      if (admin_.server_version() < row.since) continue;
      names_.emplace_back(row.name);
      everywhere(set + row.name + " = " + row.hostile);
    }
    everywhere("SELECT pg_reload_conf()");
    const Lsn end = Lsn::parse(*admin_.script("SELECT pg_current_wal_flush_lsn()::text AS l", soon).one().text("l"));
    const auto replayed = [&] {
      return replica_.script("SELECT pg_last_wal_replay_lsn() AS l", soon).one().lsn("l") >= end;
    };
    EXPECT_EQ(wait_until(system_clock(), soon, tick, {}, replayed), WaitEnd::reached);
  }
  ~HostileSettings() {
    for (const std::string& name : names_) everywhere(reset_ + name);
    everywhere("SELECT pg_reload_conf()");
    for (const Session* const session : {&admin_, &replica_}) {
      const auto harmless = [session] {
        try {
          Session fresh(session->conninfo(), "as everybody");
          fresh.open(soon);
          return fresh.script("SHOW statement_timeout", soon).one().text("statement_timeout") == "0";
        } catch (const Error&) {
          return false;
        }
      };
      EXPECT_EQ(wait_until(system_clock(), soon, tick, {}, harmless), WaitEnd::reached);
    }
  }
  HostileSettings(const HostileSettings&) = delete;
  HostileSettings& operator=(const HostileSettings&) = delete;

  static constexpr auto idle_limit = std::chrono::seconds(1);

 private:
  struct Row {
    const char* name;
    int since;
    const char *hostile, *harmless;
  };
  static constexpr std::array table{Row{"default_transaction_isolation", 0, "'serializable'", "'read committed'"},
                                    Row{"default_transaction_deferrable", 0, "on", "off"},
                                    Row{"statement_timeout", 0, "50", "0"},
                                    Row{"lock_timeout", 0, "1", "0"},
                                    Row{"idle_in_transaction_session_timeout", 0, "1", "0"},
                                    Row{"idle_session_timeout", 140000, "1000", "0"},
                                    Row{"transaction_timeout", 170000, "50", "0"},
                                    Row{"client_encoding", 0, "'SQL_ASCII'", "'UTF8'"},
                                    Row{"search_path", 0, "'nowhere'", "public"},
                                    Row{"extra_float_digits", 0, "-15", "1"}};

  /// Roles and databases are the primary's to change, ALTER SYSTEM and a reload are each server's own.
  void everywhere(const std::string& sql) {
    admin_.script(sql, soon);
    if (sql.starts_with("ALTER SYSTEM") || sql.starts_with("SELECT")) replica_.script(sql, soon);
  }

  Session admin_, replica_;
  std::string reset_;
  std::vector<std::string> names_;
};

TEST_F(ServerNodeTest, AnOrderThatWasGivenUpEndsInTheServer) {
  Session admin(admin_.primary, "admin");
  admin.open(soon);
  if (admin.server_version() < 140000) GTEST_SKIP() << "PostgreSQL 13 does not look whether a client is still there";
  const auto running = [&admin] {
    return admin
        .script(
            "SELECT count(*) AS n FROM pg_stat_activity WHERE query LIKE '%pg_logical_emit_message%' "
            "AND pid <> pg_backend_pid() AND state = 'active'",
            soon)
        .one()
        .integer("n");
  };
  const auto agent = agent_on(admin_.primary);
  ASSERT_TRUE(agent->observe(soon).timeline > 0);
  constexpr std::int64_t for_many_seconds = 8LL << 30;
  EXPECT_THROW(agent->fill_wal(for_many_seconds, std::chrono::milliseconds(100)), Error);
  ASSERT_EQ(running(), 1) << "or the test proves nothing";
  EXPECT_EQ(wait_until(system_clock(), std::chrono::seconds(3), tick, {}, [&] { return running() == 0; }),
            WaitEnd::reached);
}

TEST_F(ServerNodeTest, NobodyElsesSettingsBreakASession) {
  struct Case {
    const char *set, *reset;
  };
  for (const Case& c : {Case{"ALTER ROLE pgrm_agent SET ", "ALTER ROLE pgrm_agent RESET "},
                        Case{"ALTER DATABASE postgres SET ", "ALTER DATABASE postgres RESET "},
                        Case{"ALTER SYSTEM SET ", "ALTER SYSTEM RESET "}}) {
    SCOPED_TRACE(c.set);
    const HostileSettings hostile(lab_, c.set, c.reset);
    Session plain(admin_.primary, "plain");
    plain.open(soon);
    ASSERT_EQ(plain.script("SHOW default_transaction_isolation", soon).one().text("default_transaction_isolation"),
              "serializable")
        << "or the test proves nothing";
    plain.close();

    for (const auto& [server, standby] : {std::pair(admin_.primary, false), {admin_.replica, true}}) {
      SCOPED_TRACE(standby ? "replica" : "primary");
      const auto watching =
          make_server_node(server, {.application_name = "observer", .observer_timeout = std::chrono::seconds(2)});
      const auto acting = agent_on(server);
      for (const auto& node : {watching.get(), acting.get()}) {
        const ServerState state = node->observe(soon);
        EXPECT_EQ(state.in_recovery, standby);
        for (const Collector& collector : state.collectors) EXPECT_EQ(collector.error, "") << collector.name;
        EXPECT_TRUE(standby ? node->wal_replayed(soon) : node->wal_flushed(soon));
      }
      EXPECT_FALSE(acting->facts(soon).settings.empty());
      EXPECT_EQ(acting->fresh_identity(soon).get().in_recovery, standby);
      const Attack attack{.role = {}, .overrides_read_only = !standby, .writes = false};
      EXPECT_EQ(acting->attack(attack, soon).get().read_only, standby);
      if (!standby) {
        ASSERT_TRUE(acting->try_lock(soon));
        acting->fill_wal(64 << 20, soon);  // takes longer than a statement may
      }
      acting->checkpoint(soon);
      std::this_thread::sleep_for(HostileSettings::idle_limit * 5 / 4);  // longer than a session may be idle
      EXPECT_NO_THROW(acting->wal_replayed(soon)) << "an agent's session is not opened anew: its lock would be gone";
      EXPECT_NO_THROW(watching->wal_replayed(soon));
    }
  }
}

TEST_F(ServerNodeTest, ANameInAnyEncodingIsReadAsFarAsItCanBe) {
  Session superuser(lab_.as("postgres", "postgres").primary, "namer");
  superuser.open(soon);
  superuser.script("DROP DATABASE IF EXISTS latin", soon);
  superuser.script("DROP DATABASE IF EXISTS bytes", soon);
  superuser.script("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'", soon);
  superuser.script("CREATE DATABASE bytes TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'", soon);
  {
    Session latin(lab_.as("postgres", "latin").primary.with("client_encoding", "UTF8"), "namer");
    latin.open(soon);
    latin.script("CREATE UNLOGGED TABLE \"größe\" (i int)", soon);
    Session bytes(lab_.as("postgres", "bytes").primary, "namer");
    bytes.open(soon);
    bytes.script(
        "CREATE UNLOGGED TABLE \"gr\xf6\xdf"
        "e\" (i int)",
        soon);
    bytes.script("CREATE DATABASE \"d\xf6\" TEMPLATE template0", soon);
  }
  EXPECT_EQ(agent_on(lab_.as("pgrm_agent", "latin").primary)->database_facts(soon).unlogged_tables,
            std::vector<std::string>{"public.\"größe\""});
  EXPECT_EQ(agent_on(lab_.as("pgrm_agent", "bytes").primary)->database_facts(soon).unlogged_tables,
            std::vector<std::string>{"public.\"gr\ufffd\ufffde\""});
  const std::vector<Database> databases = primary_->fence_view(soon).databases;
  EXPECT_NE(std::ranges::find(databases, "d\ufffd", &Database::name), databases.end());
  EXPECT_NO_THROW(primary_->facts(soon));

  Session bytes(lab_.as("postgres", "bytes").primary, "namer");
  bytes.open(soon);
  bytes.script("DROP DATABASE \"d\xf6\"", soon);
  bytes.close();
  superuser.script("DROP DATABASE latin WITH (FORCE)", soon);
  superuser.script("DROP DATABASE bytes WITH (FORCE)", soon);
}

TEST_F(ServerNodeTest, WritesCheckpoints) {
  primary_->checkpoint(soon);
  replica_->checkpoint(soon);
}

}  // namespace
}  // namespace pgrm
