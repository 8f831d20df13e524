#include "agent/plan/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "tests/unit/agent/rig.h"

namespace pgrm::agent {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

/// Calls of the fake that change nothing, by their names.
bool only_asks(const std::string& call) {
  static const std::set<std::string, std::less<>> questions{
      "observe", "facts", "database_facts", "refusal_of", "in_recovery", "wal_end", "wal_flushed", "wal_replayed",
      "promotion_work", "identity", "fresh_identity", "fence_view", "overrides_in_file", "accepts_connections",
      "client_sessions", "writers", "system_settings", "replication_slot", "lock_holder", "holds_lock",
      "may_write_probe", "probe_table_problems", "relation_names", "has_next_segment",
      // They leave nothing behind: parsed statements, a lock of this session's, a transaction that writes nothing.
      "prepare_orders", "try_lock", "log_in", "await_reload"};
  const std::size_t begin = call.find('.') + 1;
  return questions.contains(call.substr(begin, call.find('(') - begin));
}

class PlanTest : public testing::Test {
 protected:
  Plan plan() {
    Cutover planned = rig.context();
    const Outcome looked = dry_run(planned);
    EXPECT_EQ(looked.exit_code, 0) << looked.message;
    rig.cluster.calls.clear();
    return make_plan(planned, looked, [this] {
      Cast cast{Servers{rig.server(Side::primary), rig.server(Side::replica), rig.cluster.node(Side::primary)},
                {},
                std::make_unique<FakeNodeControl>(rig.cluster)};
      cast.traffic.push_back(std::make_unique<FakeTraffic>(paused));
      return cast;
    });
  }

  static const PlannedStep& step(const Plan& plan, std::string_view name) {
    return *std::ranges::find(plan.steps, name, [](const PlannedStep& step) { return step.step->name; });
  }

  static std::vector<std::string> texts(const std::vector<PlannedOrder>& orders) {
    std::vector<std::string> texts;
    for (const PlannedOrder& order : orders) texts.push_back(order.to + ": " + order.text);
    return texts;
  }

  Rig rig;
  bool paused = false;
};

TEST_F(PlanTest, EveryStepHasARow) {
  const Plan made = plan();
  ASSERT_EQ(made.steps.size(), steps().size());
  for (std::size_t i = 0; i < made.steps.size(); ++i) EXPECT_EQ(made.steps[i].step, &steps()[i]);
}

TEST_F(PlanTest, NothingIsOrderedWhateverIsPlanned) {
  for (const auto fence : {FenceForm::closed, FenceForm::read_only}) {
    for (const auto demotion : {Demotion::read_only, Demotion::closed, Demotion::stop, Demotion::standby}) {
      if (fence == FenceForm::read_only && demotion == Demotion::closed) continue;  // is refused
      rig.options.fence = fence;
      rig.options.demotion = demotion;
      plan();
      for (const std::string& call : rig.cluster.calls) EXPECT_TRUE(only_asks(call)) << call;
    }
  }
  EXPECT_THAT(rig.control.orders, IsEmpty());
  EXPECT_FALSE(paused);
}

TEST_F(PlanTest, APromotionIsOneOrderToTheReplica) {
  EXPECT_THAT(texts(step(plan(), "promote").orders), ElementsAre("new:5432: SELECT pg_promote(wait => false) AS done"));
}

TEST_F(PlanTest, WhatAFenceDoesItsUndoTakesBack) {
  const Plan made = plan();
  const auto done = texts(step(made, "fence").orders), undone = texts(step(made, "fence").undo);
  EXPECT_THAT(done, Contains(HasSubstr("ALTER DATABASE \"testdb\" ALLOW_CONNECTIONS false")));
  EXPECT_THAT(undone, Contains(HasSubstr("ALTER DATABASE \"testdb\" ALLOW_CONNECTIONS true")));
  EXPECT_THAT(undone, Contains(HasSubstr("ALTER SYSTEM RESET default_transaction_read_only")));
  EXPECT_THAT(undone, Each(HasSubstr("old:5432: ")));
}

TEST_F(PlanTest, AReadOnlyFenceClosesNothing) {
  rig.options.fence = FenceForm::read_only;
  for (const PlannedStep& row : plan().steps) {
    EXPECT_THAT(texts(row.orders), Not(Contains(AllOf(HasSubstr("old:5432"), HasSubstr("ALLOW_CONNECTIONS")))));
  }
}

TEST_F(PlanTest, AStandbyIsMadeByTheHostsCommands) {
  rig.options.demotion = Demotion::standby;
  const Plan made = plan();
  std::vector<std::string> commands;
  for (const PlannedOrder& order : step(made, "demote_old").orders) {
    if (order.to == "host of old:5432") commands.push_back(order.text);
  }
  EXPECT_THAT(commands, ElementsAre("stop", "diverged", "rewind", "start"));
  EXPECT_THAT(made.way_back, Contains(HasSubstr("agent cutover --switch-back")));
}

TEST_F(PlanTest, WhatIsLeftForAPersonIsSaid) { EXPECT_THAT(plan().by_hand, Contains(HasSubstr("agent rejoin"))); }

TEST_F(PlanTest, APairThatIsNotReadyAnyMoreHasNoPlan) {
  Cutover planned = rig.context();
  const Outcome looked = dry_run(planned);
  rig.cluster.replica.up = false;
  try {
    make_plan(planned, looked, [this] {
      return Cast{Servers{rig.server(Side::primary), rig.server(Side::replica), rig.cluster.node(Side::primary)},
                  {},
                  std::make_unique<FakeNodeControl>(rig.cluster)};
    });
    FAIL() << "it has one";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::preflight_refused);
  }
}

}  // namespace
}  // namespace pgrm::agent
