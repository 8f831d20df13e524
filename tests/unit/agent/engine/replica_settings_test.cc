#include "agent/engine/replica_settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/agent/rig.h"

namespace pgrm::agent {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::Not;

const SystemSettings for_the_promotion{{"restore_command", ""}, {"wal_init_zero", "off"}};

/// A replica that asks an archive.
struct Archived : Rig {
  explicit Archived(SystemSettings as_it_was = {{"restore_command", std::nullopt}, {"wal_init_zero", std::nullopt}})
      : was(std::move(as_it_was)) {
    cluster.replica.facts.settings["restore_command"] = "cp /archive/%f %p";
    cluster.replica.others = was;
  }
  const SystemSettings was;
};

TEST(ReplicaSettings, AreOtherForThePromotionOnly) {
  for (const SystemSettings& was : {SystemSettings{{"restore_command", "cp /archive/%f %p"}, {"wal_init_zero", "on"}},
                                    SystemSettings{{"restore_command", std::nullopt}, {"wal_init_zero", "off"}}}) {
    Archived rig(was);
    std::optional<SystemSettings> at_promotion;
    rig.cluster.before = [&](const std::string& call) {
      if (call == "replica.promote") at_promotion = rig.cluster.replica.others;
    };
    ASSERT_EQ(rig.run().exit_code, 0);
    EXPECT_EQ(at_promotion, for_the_promotion);
    EXPECT_EQ(rig.cluster.replica.others, was);
  }
}

TEST(ReplicaSettings, AreUndone) {
  Archived rig({{"restore_command", std::nullopt}, {"wal_init_zero", "on"}});
  rig.traffic->fails = "stop";
  ASSERT_EQ(rig.run().exit_code, 5);
  EXPECT_EQ(rig.cluster.replica.others, rig.was);
}

TEST(ReplicaSettings, WhatAnAttemptCouldNotPutBackTheNextOnePutsBack) {
  Archived rig({{"restore_command", "cp /archive/%f %p"}, {"wal_init_zero", std::nullopt}});
  int fences = 0;
  rig.traffic->on_fence = [&] {
    if (++fences == 1) rig.clock.advance(rig.options.max_write_pause);
  };
  bool failed = false;
  rig.cluster.before = [&](const std::string& call) {
    if (call != "replica.set_system_settings(restore_command=cp /archive/%f %p, wal_init_zero=reset)") return;
    if (fences > 1) return;
    failed = true;
    throw Error(ErrorCode::timeout, "no answer");
  };
  ASSERT_EQ(rig.run().exit_code, 0);
  EXPECT_EQ(fences, 2);
  EXPECT_TRUE(failed);
  EXPECT_EQ(rig.cluster.replica.others, rig.was);
}

TEST(ReplicaSettings, AReplicaThatAnswersLateGetsThemBack) {
  Archived rig({{"restore_command", std::nullopt}, {"wal_init_zero", "on"}});
  rig.traffic->fails = "stop";
  int tries = 0;
  rig.cluster.before = [&](const std::string& call) {
    if (call != "replica.set_system_settings(restore_command=reset, wal_init_zero=on)") return;
    if (++tries < 4) throw Error(ErrorCode::query_failed, "could not open file \"postgresql.auto.conf.tmp\"");
  };
  EXPECT_EQ(rig.run().exit_code, 5);
  EXPECT_EQ(tries, 4);
  EXPECT_EQ(rig.cluster.replica.others, rig.was);
  EXPECT_THAT(rig.warnings, Not(Contains(HasSubstr("not as they were"))));
}

TEST(ReplicaSettings, ArePutBackByARecovery) {
  struct Case {
    const char* killed_at;
    int exit_code;  // of the recovery
  };
  for (const auto& [killed_at, exit_code] :
       {Case{"replica.promote", 0}, {"primary.alter_system(on)", 5}, {"primary.fill_wal", 5}}) {
    SCOPED_TRACE(killed_at);
    Archived rig;
    rig.cluster.before = [&](const std::string& call) {
      if (call == killed_at) throw Killed();
    };
    EXPECT_THROW(rig.run(), Killed);
    rig.cluster.before = nullptr;
    EXPECT_EQ(rig.cluster.replica.others, for_the_promotion) << "or the test proves nothing";
    EXPECT_EQ(rig.recover().exit_code, exit_code);
    EXPECT_EQ(rig.cluster.replica.others, rig.was);
  }
}

TEST(ReplicaSettings, AReplicaThatIsGoneDoesNotMakeAnUndoIncomplete) {
  Archived rig({{"restore_command", "cp /archive/%f %p"}, {"wal_init_zero", std::nullopt}});
  rig.traffic->on_fence = [&] { rig.cluster.replica.up = false; };
  const Outcome outcome = rig.run();
  ASSERT_EQ(outcome.exit_code, 5);
  EXPECT_THAT(outcome.steps.back().evidence, HasSubstr("not all as before"));
  EXPECT_TRUE(rig.cluster.primary.writable());
  EXPECT_THAT(rig.warnings, Contains(HasSubstr("alter system set restore_command = 'cp /archive/%f %p'; "
                                               "alter system reset wal_init_zero; select pg_reload_conf()")));
}

TEST(ReplicaSettings, ACommandThatTheAgentMayNotChangeStays) {
  Archived rig;
  rig.cluster.replica.facts.rights["ALTER SYSTEM restore_command"] = false;
  ASSERT_EQ(rig.run().exit_code, 0);
  EXPECT_THAT(rig.cluster.calls, Contains("replica.set_system_settings(wal_init_zero=off)"));
  EXPECT_THAT(rig.cluster.calls, Not(Contains(HasSubstr("restore_command"))));
}

TEST(ReplicaSettings, WhatCannotBeSetCostsAWarning) {
  Archived rig;
  rig.cluster.before = [&](const std::string& call) {
    if (call.starts_with("replica.set_system_settings(restore_command=,")) {
      throw Error(ErrorCode::permission_denied, "not you");
    }
  };
  ASSERT_EQ(rig.run().exit_code, 0);
  EXPECT_THAT(rig.warnings, Contains(HasSubstr("not you")));
  EXPECT_EQ(rig.cluster.replica.others, rig.was);
}

}  // namespace
}  // namespace pgrm::agent
