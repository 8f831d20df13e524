// The matrix that must hold: the agent dies before and after every call and every journal record, every call fails in
// every way, the one that recovers dies as well. Then a new agent recovers, and always:
//   - at no instant both servers acknowledged writes, not even to a client that overrides the read-only default;
//   - no acknowledged write is missing on the server that takes writes;
//   - the application is not left paused, the old primary not half-fenced;
//   - a second recovery does nothing.
// On real servers, more sparsely: tests/e2e/kill_matrix_test.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include "core/base/error.h"
#include "tests/unit/agent/rig.h"

namespace pgrm::agent {
namespace {

using testing::AnyOf;
using testing::HasSubstr;
using testing::IsEmpty;

/// A call of look_around().
bool only_looks(const std::string& call) {
  constexpr std::array looks{".fresh_identity", ".identity", ".fence_view", ".overrides_in_file", ".attack"};
  return std::ranges::any_of(looks, [&](const char* look) { return call.ends_with(look); });
}

/// One way to be set up; the whole matrix runs over each.
struct Shape {
  std::string name;
  std::optional<FenceForm> fence;
  Demotion demotion = Demotion::read_only;
  int promotes_after = 0;  // calls until the order to promote is carried out
  bool subscribed = false;
  bool restarts = false;  // both servers restart before the recovery
  bool rehearsal = false;

  friend std::ostream& operator<<(std::ostream& out, const Shape& shape) { return out << shape.name; }

  void set_up(Rig& rig) const {
    rig.options.fence = fence;
    rig.options.demotion = demotion;
    rig.options.rehearsal = rehearsal;
    rig.cluster.replica.promotes_after = promotes_after;
    rig.cluster.clients = true;
    if (!subscribed) return;
    for (auto* const server : {&rig.cluster.primary, &rig.cluster.replica}) {
      server->subscriptions = server->facts.subscriptions = {{"feed", "testdb", true}};
    }
  }
};

std::vector<Shape> shapes() {
  return {
      {.name = "closed", .fence = FenceForm::closed},
      {.name = "read_only", .fence = FenceForm::read_only},
      {.name = "stays_closed", .fence = FenceForm::closed, .demotion = Demotion::closed},
      {.name = "promotes_late", .fence = FenceForm::closed, .promotes_after = 4},
      {.name = "promotes_much_later", .fence = FenceForm::closed, .promotes_after = 30},
      {.name = "subscribed", .fence = FenceForm::closed, .subscribed = true},
      {.name = "restarts", .fence = FenceForm::closed, .promotes_after = 4, .restarts = true},
      {.name = "rehearsal", .fence = FenceForm::closed, .rehearsal = true},
  };
}

class CrashMatrix : public testing::TestWithParam<Shape> {
 protected:
  void SetUp() override { spdlog::set_level(spdlog::level::off); }
  void TearDown() override { spdlog::set_level(spdlog::level::info); }

  std::unique_ptr<Rig> rig() const {
    auto made = std::make_unique<Rig>();
    GetParam().set_up(*made);
    return made;
  }

  /// The calls and records of a cutover that nothing happens to.
  std::vector<std::string> calls_of_whole() const {
    const auto whole = rig();
    EXPECT_EQ(whole->run().exit_code, 0);
    return whole->cluster.calls;
  }

  static void heal(Rig& rig) {
    rig.cluster.before = rig.cluster.after = nullptr;
    rig.journal_fails_at = -1;
    rig.killed_at_record.reset();
  }

  void expect_settled(Rig& rig, const Outcome& outcome) const {
    FakeCluster& cluster = rig.cluster;
    const bool promoted = !cluster.replica.state.in_recovery;
    EXPECT_THAT(outcome.exit_code, AnyOf(0, 5)) << outcome.message;
    EXPECT_FALSE(cluster.ever_two_writable);
    EXPECT_EQ(cluster.replica.writable(), promoted);
    EXPECT_EQ(cluster.primary.writable(), !promoted);
    EXPECT_THAT(cluster.lost(promoted ? cluster.replica : cluster.primary), IsEmpty());
    EXPECT_FALSE(rig.traffic->paused) << "paused with nobody in charge";
    if (promoted) {
      EXPECT_FALSE(GetParam().rehearsal);
      EXPECT_EQ(cluster.primary.override, rig.fenced());
      EXPECT_EQ(cluster.primary.open(), GetParam().demotion == Demotion::read_only);
    } else {
      EXPECT_EQ(cluster.primary.override, Overrides());
      EXPECT_EQ(cluster.primary.written, Overrides());
    }
    EXPECT_EQ(cluster.replica.others["wal_init_zero"], std::nullopt);
    EXPECT_EQ(cluster[promoted ? Side::replica : Side::primary].subscriptions.size(), GetParam().subscribed ? 1U : 0U);
  }

  /// The agent is dead: whatever it left is settled by one recovery, and by no more than one.
  void recover_and_expect_settled(Rig& rig) const {
    if (rig.journal.empty()) {
      EXPECT_TRUE(rig.cluster.primary.writable());
      EXPECT_THAT(rig.traffic->given, IsEmpty());
      return;
    }
    if (GetParam().restarts) {
      for (const Side side : both_sides) rig.cluster[side].restart();
    }
    const bool was_settled = rig.journal.back().find("\"record\":\"end\"") != std::string::npos;
    const Outcome outcome = rig.recover();
    if (!was_settled) expect_settled(rig, outcome);
    rig.cluster.calls.clear();
    const Outcome second = rig.recover();
    EXPECT_EQ(second.exit_code, 0);
    EXPECT_THAT(second.message, HasSubstr("nothing to recover"));
    for (const std::string& call : rig.cluster.calls) EXPECT_TRUE(only_looks(call)) << call;
  }

  /// Kills at call `number` (counted from now on); `after` it had its effect.
  static void kill_at(Rig& rig, std::size_t number, bool after) {
    const std::size_t so_far = rig.cluster.calls.size();
    const auto strike = [&rig, so_far, number](const std::string&) {
      if (rig.cluster.calls.size() - so_far == number) throw Killed();
    };
    (after ? rig.cluster.after : rig.cluster.before) = strike;
  }
};

TEST_P(CrashMatrix, KilledAroundEveryCall) {
  const auto calls = calls_of_whole();
  for (std::size_t number = 1; number <= calls.size(); ++number) {
    for (const bool after : {false, true}) {
      SCOPED_TRACE("killed " + std::string(after ? "after" : "before") + " call " + std::to_string(number) + " " +
                   calls[number - 1]);
      const auto one = rig();
      kill_at(*one, number, after);
      EXPECT_THROW(one->run(), Killed);
      heal(*one);
      recover_and_expect_settled(*one);
      if (HasFailure()) return;
    }
  }
}

TEST_P(CrashMatrix, KilledBeforeEveryRecord) {
  const auto whole = rig();
  ASSERT_EQ(whole->run().exit_code, 0);
  for (std::size_t length = 1; length < whole->journal.size(); ++length) {
    SCOPED_TRACE("killed before record " + std::to_string(length) + " " + whole->journal[length]);
    const auto one = rig();
    one->killed_at_record = length;
    EXPECT_THROW(one->run(), RecordKilled);
    heal(*one);
    recover_and_expect_settled(*one);
    if (HasFailure()) return;
  }
}

TEST_P(CrashMatrix, TheOneThatRecoversIsKilledToo) {
  const auto calls = calls_of_whole();
  for (std::size_t number = 1; number <= calls.size(); number += 3) {
    for (std::size_t second = 1;; second += 2) {
      SCOPED_TRACE("killed after call " + std::to_string(number) + " " + calls[number - 1] + ", and again after call " +
                   std::to_string(second) + " of the recovery");
      const auto one = rig();
      kill_at(*one, number, true);
      EXPECT_THROW(one->run(), Killed);
      heal(*one);
      if (one->journal.empty()) break;
      kill_at(*one, second, true);
      bool killed = false;
      try {
        one->recover();
      } catch (const Killed&) {
        killed = true;
      }
      heal(*one);
      if (!killed) break;  // it needs no more calls than that
      recover_and_expect_settled(*one);
      if (HasFailure()) return;
    }
  }
}

TEST_P(CrashMatrix, TheOneThatAbortsIsKilledToo) {
  if (GetParam().rehearsal) GTEST_SKIP() << "a rehearsal never comes to an order";
  for (std::size_t number = 1;; ++number) {
    SCOPED_TRACE("killed after call " + std::to_string(number) + " of the abort");
    const auto one = rig();
    one->options.promote_timeout = std::chrono::milliseconds(500);  // every look of the wait is a place to die at
    one->cluster.before = [](const std::string& call) {
      if (call == "replica.promote") throw Killed();
    };
    EXPECT_THROW(one->run(), Killed);
    heal(*one);
    kill_at(*one, number, true);
    bool killed = false;
    try {
      EXPECT_EQ(one->recover(Decision::abort).exit_code, 5);
    } catch (const Killed&) {
      killed = true;
    }
    heal(*one);
    if (!killed) break;
    recover_and_expect_settled(*one);
    if (HasFailure()) return;
  }
}

/// Somebody promotes the replica by hand and lets everybody in.
void promote_by_hand(FakeCluster& cluster) {
  cluster.replica_is_promoted();
  cluster.replica.override = cluster.replica.written = {};
  for (Database& database : cluster.replica.databases) database.open = true;
}

/// The agent and its guard die, a person promotes the replica and opens it, and then somebody recovers, as every hint
/// says. The old primary may have been open until then; whatever is decided afterwards, only one of the two is.
TEST_P(CrashMatrix, APersonPromotesWhenTheAgentHasDied) {
  const auto calls = calls_of_whole();
  for (std::size_t number = 1; number <= calls.size(); ++number) {
    for (const Decision decision : {Decision::complete, Decision::abort}) {
      SCOPED_TRACE("killed after call " + std::to_string(number) + " " + calls[number - 1]);
      const auto one = rig();
      kill_at(*one, number, true);
      EXPECT_THROW(one->run(), Killed);
      heal(*one);
      if (one->journal.empty() || !one->cluster.replica.state.in_recovery) continue;
      if (one->journal.back().find("\"record\":\"end\"") != std::string::npos) continue;  // a rehearsal is over
      promote_by_hand(one->cluster);
      one->cluster.ever_two_writable = false;
      const Outcome looked = one->recover();
      FakeCluster& cluster = one->cluster;
      EXPECT_FALSE(cluster.primary.acknowledges() && cluster.replica.acknowledges()) << looked.message;
      EXPECT_TRUE(cluster.replica.writable());
      ASSERT_TRUE(one->situation);
      EXPECT_EQ(writable_now(*one->situation), "new:5432") << "what is told was looked at";
      if (looked.exit_code == 0) continue;  // the promotion had been ordered: forward
      EXPECT_EQ(looked.exit_code, 7) << looked.message;
      cluster.ever_two_writable = false;
      if (decision == Decision::complete) {
        EXPECT_EQ(one->recover(decision).exit_code, 0);
        EXPECT_TRUE(cluster.replica.writable());
        EXPECT_FALSE(cluster.primary.writable());
      } else {
        EXPECT_EQ(one->recover(decision).exit_code, 7) << "not while the replica is there";
        EXPECT_FALSE(cluster.primary.acknowledges());
        cluster.replica.up = false;
        EXPECT_EQ(one->recover(decision).exit_code, 5);
        EXPECT_TRUE(cluster.primary.writable());
      }
      EXPECT_FALSE(cluster.ever_two_writable);
      EXPECT_FALSE(one->traffic->paused);
      if (HasFailure()) return;
    }
  }
}

/// The session with the lock is ended, and another agent cuts over meanwhile: the first one must not touch anything
/// more.
TEST_P(CrashMatrix, ALostLockIsNoPermission) {
  const auto calls = calls_of_whole();
  for (std::size_t number = 1; number <= calls.size(); ++number) {
    SCOPED_TRACE("the lock is lost after call " + std::to_string(number) + " " + calls[number - 1]);
    const auto one = rig();
    FakeCluster& cluster = one->cluster;
    cluster.after = [&](const std::string&) {
      if (cluster.calls.size() != number) return;
      cluster.primary.end_sessions();
      cluster.primary.locked = true;
    };
    const Outcome outcome = one->run();
    EXPECT_FALSE(cluster.ever_two_writable);
    if (outcome.promoted) {
      EXPECT_FALSE(cluster.primary.writable());
    } else if (!one->journal.empty()) {
      EXPECT_THAT(outcome.exit_code, AnyOf(0, 5, 7)) << outcome.message;
      const Overrides left = cluster.primary.written;
      EXPECT_EQ(one->recover().exit_code == 7 || settled(parse_journal(one->text())), true);
      EXPECT_EQ(cluster.primary.written, left) << "another agent has the lock";
    }
    if (HasFailure()) return;
  }
}

struct Fault {
  ErrorCode code;
  bool after;  // the call had its effect
  bool stays;  // the server is down from then on
};
constexpr std::array faults{
    Fault{ErrorCode::query_failed, false, false},   Fault{ErrorCode::connection_lost, false, false},
    Fault{ErrorCode::connection_lost, true, false}, Fault{ErrorCode::timeout, true, false},
    Fault{ErrorCode::connection_lost, false, true}, Fault{ErrorCode::connection_lost, true, true},
};

/// What an exit code promises, whatever went wrong.
void expect_as_promised(Rig& rig, const Outcome& outcome, bool old_is_gone) {
  const FakeCluster::Server& primary = rig.cluster.primary;
  EXPECT_FALSE(rig.cluster.ever_two_writable);
  switch (outcome.exit_code) {
    case 0:
      // The last look comes after the end: what dies there was open until then.
      EXPECT_TRUE(rig.options.rehearsal ? primary.writable() || old_is_gone
                                        : rig.cluster.replica.writable() || !rig.cluster.replica.up);
      EXPECT_FALSE(rig.traffic->paused);
      break;
    case 1:
    case 3:
    case 4:
      EXPECT_TRUE(primary.writable() || old_is_gone);
      EXPECT_THAT(rig.traffic->given, IsEmpty());
      EXPECT_THAT(rig.journal, IsEmpty());
      break;
    case 5:
      EXPECT_TRUE(primary.writable() || old_is_gone);
      EXPECT_TRUE(rig.cluster.replica.state.in_recovery);
      EXPECT_FALSE(rig.traffic->paused);
      break;
    case 6:
      EXPECT_FALSE(rig.cluster.replica.state.in_recovery);
      EXPECT_FALSE(primary.writable());
      break;
    case 7:
      EXPECT_FALSE(rig.cluster.replica.writable());
      break;
    default:
      ADD_FAILURE() << "exit code of no meaning";
  }
}

TEST_P(CrashMatrix, EveryCallFailsInEveryWay) {
  const auto calls = calls_of_whole();
  for (std::size_t number = 1; number <= calls.size(); ++number) {
    for (const Fault& fault : faults) {
      SCOPED_TRACE("call " + std::to_string(number) + " " + calls[number - 1] + " fails " +
                   (fault.after ? "after" : "before") + (fault.stays ? " its effect, server gone, " : " its effect, ") +
                   std::string(error_row(fault.code).name));
      const auto one = rig();
      std::size_t count = 0;
      bool old_is_gone = false;
      const auto strike = [&](const std::string& call) {
        if (count != number) return;
        const Side side = call.starts_with("primary") ? Side::primary : Side::replica;
        if (fault.stays) one->cluster[side].up = false;
        old_is_gone = fault.stays && side == Side::primary;
        throw Error(fault.code, "struck");
      };
      one->cluster.before = [&](const std::string& call) {
        ++count;
        if (!fault.after) strike(call);
      };
      one->cluster.after = [&](const std::string& call) {
        if (fault.after) strike(call);
      };
      const Outcome outcome = one->run();
      expect_as_promised(*one, outcome, old_is_gone);
      heal(*one);
      for (const Side side : both_sides) {
        if (!one->cluster[side].up) one->cluster[side].restart();
      }
      if (outcome.exit_code == 6 || outcome.exit_code == 7) expect_settled(*one, one->recover());
      if (HasFailure()) {
        ADD_FAILURE() << "exit " << outcome.exit_code << " " << outcome.message;
        return;
      }
    }
  }
}

TEST_P(CrashMatrix, NoRecordCanBeWritten) {
  const auto whole = rig();
  ASSERT_EQ(whole->run().exit_code, 0);
  for (int line = 0; line < static_cast<int>(whole->journal.size()); ++line) {
    SCOPED_TRACE("no space for record " + std::to_string(line));
    const auto one = rig();
    one->journal_fails_at = line;
    const Outcome outcome = one->run();
    expect_as_promised(*one, outcome, false);
    EXPECT_FALSE(one->traffic->paused);
    if (HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, CrashMatrix, testing::ValuesIn(shapes()),
                         [](const auto& shape) { return shape.param.name; });

}  // namespace
}  // namespace pgrm::agent
