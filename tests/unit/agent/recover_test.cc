// The agent dies at every call and at every journal record of a cutover; then a new one recovers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/agent/rig.h"

namespace pgrm::agent {
namespace {

using testing::AnyOf;
using testing::HasSubstr;
using testing::IsEmpty;

/// No std::exception: nothing in the engine can catch it, as nothing catches SIGKILL.
struct Killed {};

void expect_settled(Rig& rig, const Outcome& outcome) {
  EXPECT_FALSE(rig.cluster.ever_two_writable);
  const bool promoted = !rig.cluster.replica.state.in_recovery;
  EXPECT_EQ(rig.cluster.replica.writable(), promoted);
  EXPECT_EQ(rig.cluster.primary.writable(), !promoted);
  EXPECT_FALSE(rig.traffic->paused) << "paused with nobody in charge";
  EXPECT_THAT(outcome.exit_code, AnyOf(0, 5)) << outcome.message;
}

/// Recovers whatever was left; where only a person can decide, once in each way.
void recover_and_check(const std::function<void(Rig&)>& die, const std::string& when) {
  for (const Decision decision : {Decision::abort, Decision::complete}) {
    SCOPED_TRACE(when + (decision == Decision::abort ? ", abort" : ", complete"));
    Rig rig;
    die(rig);
    rig.cluster.before = rig.cluster.after = nullptr;
    rig.journal_fails_at = -1;
    if (rig.journal.empty()) {  // nothing had begun
      EXPECT_TRUE(rig.cluster.primary.writable());
      EXPECT_THAT(rig.traffic->orders, IsEmpty());
      continue;
    }
    Outcome outcome = rig.recover();
    if (outcome.exit_code == 7) {
      EXPECT_FALSE(rig.cluster.primary.writable());
      EXPECT_TRUE(rig.cluster.replica.state.in_recovery);
      outcome = rig.recover(decision);
      EXPECT_EQ(rig.cluster.replica.writable(), decision == Decision::complete);
    }
    expect_settled(rig, outcome);
    const std::size_t calls = rig.cluster.calls.size();
    const Outcome second = rig.recover();
    EXPECT_EQ(second.exit_code, 0);
    EXPECT_THAT(second.message, HasSubstr("nothing to recover"));
    EXPECT_EQ(rig.cluster.calls.size(), calls) << "the second recovery did something";
  }
}

TEST(Recover, SettlesWhereverTheAgentWasKilled) {
  Rig whole;
  ASSERT_EQ(whole.run().exit_code, 0);
  for (std::size_t number = 1; number <= whole.cluster.calls.size(); ++number) {
    for (const bool after : {false, true}) {
      const auto die = [&](Rig& rig) {
        const auto strike = [&rig, number](const std::string&) {
          if (rig.cluster.calls.size() == number) throw Killed();
        };
        (after ? rig.cluster.after : rig.cluster.before) = strike;
        EXPECT_THROW(rig.run(), Killed);
      };
      recover_and_check(die, "killed " + std::string(after ? "after" : "before") + " call " + std::to_string(number) +
                                 " " + whole.cluster.calls[number - 1]);
      if (testing::Test::HasFailure()) return;
    }
  }
}

TEST(Recover, SettlesAfterEveryJournalRecord) {
  Rig whole;
  ASSERT_EQ(whole.run().exit_code, 0);
  for (std::size_t length = 1; length < whole.journal.size(); ++length) {
    const auto die = [&](Rig& rig) {
      rig.killed_at_record = length;
      EXPECT_THROW(rig.run(), RecordKilled);
    };
    recover_and_check(die, "killed before record " + std::to_string(length));
    if (testing::Test::HasFailure()) return;
  }
}

TEST(Recover, LeavesBothFencedWhileTheReplicaCannotBeSeen) {
  Rig rig;
  rig.cluster.after = [](const std::string& call) {
    if (call == "replica.promote") throw Killed();
  };
  EXPECT_THROW(rig.run(), Killed);
  rig.cluster.after = nullptr;
  rig.cluster.replica.up = false;
  for (const Decision decision : {Decision::by_looking, Decision::abort, Decision::complete}) {
    EXPECT_EQ(rig.recover(decision).exit_code, 7);
    EXPECT_FALSE(rig.cluster.primary.writable());
  }
  rig.cluster.replica.up = true;
  EXPECT_EQ(rig.recover().exit_code, 0) << "it was promoted after all";
  EXPECT_TRUE(rig.cluster.replica.writable());
}

TEST(Recover, FinishesWhatWasUnfinished) {
  Rig rig;
  rig.cluster.before = [&](const std::string& call) {
    if (call == "replica.write_probe") throw Error(ErrorCode::timeout, "too slow");
  };
  EXPECT_EQ(rig.run().exit_code, 6);
  rig.cluster.before = nullptr;
  EXPECT_EQ(rig.recover().exit_code, 0);
  EXPECT_FALSE(rig.traffic->paused);
}

TEST(Recover, RestoresWhatWasThereBeforeTheFirstFence) {
  Rig rig;
  rig.cluster.primary.override = "off";
  rig.traffic->on_fence = [] { throw Killed(); };
  EXPECT_THROW(rig.run(), Killed);
  EXPECT_EQ(rig.recover().exit_code, 5);
  EXPECT_EQ(rig.cluster.primary.override, "off");
}

}  // namespace
}  // namespace pgrm::agent
