#include "core/pg/workload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "core/base/wait.h"
#include "core/pg/session.h"
#include "tests/integration/lab_pair.h"

namespace pgrm {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr auto soon = std::chrono::seconds(10);

std::unique_ptr<WorkloadObserver> observer_at(const Conninfo& server) {
  return make_workload_observer(server, {.application_name = "pgrm-agent/test", .observer_timeout = soon});
}

class WorkloadTest : public testing::Test {
 protected:
  const LabPair& lab_ = LabPair::get();
  Pair agent_ = lab_.as("pgrm_agent");
};

TEST_F(WorkloadTest, KnowsEveryCounterThatTheVersionHas) {
  const WorkloadLook look = observer_at(agent_.primary)->look(soon);
  EXPECT_EQ(look.database, "testdb");
  EXPECT_THAT(look.system_identifier, Not(IsEmpty()));
  EXPECT_GE(look.version, 130000);
  for (const WorkloadCounter& row : workload_counters()) {
    if (row.since > look.version || row.name == "read_ms") continue;  // nobody measures that unless told to
    EXPECT_TRUE(look.counters.contains(row.name)) << row.name;
    EXPECT_TRUE(row.reset.empty() || look.resets.contains(row.reset)) << row.name;
  }
  EXPECT_EQ(look.settings.count("shared_buffers"), 1);
  EXPECT_EQ(look.settings.count("server_version"), 1);
}

TEST_F(WorkloadTest, CountsWhatAClientDoes) {
  const auto observer = observer_at(agent_.primary);
  const WorkloadLook before = observer->look(soon);
  {
    Session client(lab_.as("pgrm_app").primary, "a client");
    client.open(soon);
    for (int i = 0; i < 20; ++i) client.script("SELECT count(*) FROM pg_class", soon);
  }
  const auto counted = [&] {
    const WorkloadLook now = observer->look(soon);
    return now.counters.at("commits") >= before.counters.at("commits") + 20;
  };
  EXPECT_EQ(wait_until(system_clock(), soon, std::chrono::milliseconds(50), {}, counted), WaitEnd::reached);
}

TEST_F(WorkloadTest, LooksAtAStandbyToo) {
  const WorkloadLook look = observer_at(agent_.replica)->look(soon);
  EXPECT_FALSE(look.counters.contains("wal_bytes")) << "it writes none";
  EXPECT_TRUE(look.counters.contains("commits"));
  EXPECT_EQ(look.system_identifier, observer_at(agent_.primary)->look(soon).system_identifier);
}

TEST_F(WorkloadTest, SaysThatTheExtensionIsMissing) {
  const auto observer = observer_at(agent_.primary);
  const WorkloadLook look = observer->look(soon);
  EXPECT_EQ(look.statements, std::nullopt);
  EXPECT_EQ(look.statements_problem, "pg_stat_statements is not installed in testdb");
  EXPECT_THAT(look.statements_hint, HasSubstr("CREATE EXTENSION pg_stat_statements"));
  EXPECT_THAT(observer->texts({1, 2}, soon), IsEmpty());
}

TEST_F(WorkloadTest, SaysThatItsLibraryIsNotLoaded) {
  Session admin(lab_.as("postgres").primary, "test");
  admin.open(soon);
  admin.script("CREATE EXTENSION pg_stat_statements", soon);
  const WorkloadLook look = observer_at(agent_.primary)->look(soon);
  admin.script("DROP EXTENSION pg_stat_statements", soon);
  EXPECT_EQ(look.statements, std::nullopt);
  EXPECT_THAT(look.statements_problem, HasSubstr("shared_preload_libraries"));
  EXPECT_THAT(look.statements_hint, HasSubstr("a restart"));
  EXPECT_TRUE(look.counters.contains("commits")) << "everything else is known";
}

}  // namespace
}  // namespace pgrm
