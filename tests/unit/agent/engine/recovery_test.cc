#include "agent/engine/recovery.h"

#include <gtest/gtest.h>

#include <array>
#include <set>

namespace pgrm::agent {
namespace {

constexpr std::array journals{begun, ordered, undoing, undoing_after_order};
constexpr std::array replicas{standby, promoted, unseen};
constexpr std::array decisions{Decision::by_looking, Decision::abort, Decision::complete};

/// Calls `check` with every position and decision that there is.
template <typename Check>
void everywhere(Check&& check) {
  for (const Written written : journals) {
    for (const ReplicaSeen replica : replicas) {
      for (const Decision decision : decisions) {
        for (unsigned bits = 0; bits < 32; ++bits) {
          Position position{.written = written, .replica = replica};
          position.lock_elsewhere = (bits & 1U) != 0;
          position.foreign_fence = (bits & 2U) != 0;
          position.old_seen = (bits & 4U) != 0;
          position.old_elsewhere = (bits & 16U) != 0 && position.old_seen;
          position.fence_replayed = (bits & 8U) != 0 && !position.old_seen && replica == standby;
          SCOPED_TRACE(testing::Message() << "journal " << written << ", replica " << replica << ", decision "
                                          << static_cast<int>(decision) << ", bits " << bits);
          check(position, decision, decide(position, decision));
        }
      }
    }
  }
}

TEST(RecoveryTable, HasARowForEverything) {
  everywhere([](const Position&, Decision, const RecoveryRow& row) { EXPECT_FALSE(row.says.empty()); });
}

TEST(RecoveryTable, NoRowIsForNothing) {
  std::set<const RecoveryRow*> taken;
  everywhere([&](const Position&, Decision, const RecoveryRow& row) { taken.insert(&row); });
  EXPECT_EQ(taken.size(), recovery_table().size());
}

TEST(RecoveryTable, NothingIsTouchedWithoutTheLockOrBehindSomebodyElsesFence) {
  everywhere([](const Position& position, Decision, const RecoveryRow& row) {
    if (position.lock_elsewhere || position.foreign_fence) {
      EXPECT_EQ(row.action, Action::hold);
    } else if (position.old_elsewhere) {
      EXPECT_TRUE(row.action == Action::hold || row.action == Action::settle) << row.says;
    }
  });
}

TEST(RecoveryTable, TheOldPrimaryIsNeverOpenedBesideAPromotedReplica) {
  everywhere([](const Position& position, Decision, const RecoveryRow& row) {
    if (position.replica == promoted) {
      EXPECT_NE(row.action, Action::undo);
    }
  });
}

TEST(RecoveryTable, AnUndoIsPatientWhereThePromotionCouldStillCome) {
  everywhere([](const Position& position, Decision, const RecoveryRow& row) {
    if (row.action != Action::undo) return;
    const bool may_come = position.written == ordered || position.written == undoing_after_order;
    if (may_come || position.replica == unseen) {
      EXPECT_NE(row.patience, Patience::none);
    }
  });
}

TEST(RecoveryTable, AfterAnOrderNobodyGoesBackBecauseAServerIsNotSeen) {
  everywhere([](const Position& position, Decision decision, const RecoveryRow& row) {
    const bool order = position.written == ordered || position.written == undoing_after_order;
    if (order && position.replica == unseen && decision != Decision::abort) {
      EXPECT_EQ(row.action, Action::hold);
    }
  });
}

TEST(RecoveryTable, SomebodyElsesPromotionIsLeftToAPerson) {
  everywhere([](const Position& position, Decision decision, const RecoveryRow& row) {
    if (position.lock_elsewhere || position.foreign_fence || position.old_elsewhere) return;
    if (position.written == ordered || position.replica != promoted) return;
    EXPECT_EQ(row.action, decision == Decision::complete ? Action::fence_and_finish : Action::fence_and_ask);
  });
}

TEST(RecoveryTable, WhatIsHeldOrAskedSaysWhatToType) {
  for (const RecoveryRow& row : recovery_table()) {
    const bool asks = row.action == Action::hold || row.action == Action::fence_and_ask;
    EXPECT_TRUE(!asks || !row.hint.empty()) << row.says;
  }
}

}  // namespace
}  // namespace pgrm::agent
