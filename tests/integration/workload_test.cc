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
  const WorkloadSnapshot snapshot = observer_at(agent_.primary)->snapshot(soon);
  EXPECT_EQ(snapshot.database, "testdb");
  EXPECT_THAT(snapshot.system_identifier, Not(IsEmpty()));
  EXPECT_GE(snapshot.version, 130000);
  for (const WorkloadCounter& row : workload_counters()) {
    if (row.since > snapshot.version || row.name == "read_ms") continue;  // nobody measures that unless told to
    EXPECT_TRUE(snapshot.counters.contains(row.name)) << row.name;
    EXPECT_TRUE(row.reset.empty() || snapshot.resets.contains(row.reset)) << row.name;
  }
  EXPECT_EQ(snapshot.settings.count("shared_buffers"), 1);
  EXPECT_EQ(snapshot.settings.count("server_version"), 1);
}

TEST_F(WorkloadTest, CountsWhatAClientDoes) {
  const auto observer = observer_at(agent_.primary);
  const WorkloadSnapshot before = observer->snapshot(soon);
  {
    Session client(lab_.as("pgrm_app").primary, "a client");
    client.open(soon);
    for (int i = 0; i < 20; ++i) client.script("SELECT count(*) FROM pg_class", soon);
  }
  const auto counted = [&] {
    const WorkloadSnapshot now = observer->snapshot(soon);
    return now.counters.at("commits") >= before.counters.at("commits") + 20;
  };
  EXPECT_EQ(wait_until(system_clock(), soon, std::chrono::milliseconds(50), {}, counted), WaitEnd::reached);
}

TEST_F(WorkloadTest, LooksAtAStandbyToo) {
  const WorkloadSnapshot snapshot = observer_at(agent_.replica)->snapshot(soon);
  EXPECT_FALSE(snapshot.counters.contains("wal_bytes")) << "it writes none";
  EXPECT_TRUE(snapshot.counters.contains("commits"));
  EXPECT_EQ(snapshot.system_identifier, observer_at(agent_.primary)->snapshot(soon).system_identifier);
}

TEST_F(WorkloadTest, SaysThatTheExtensionIsMissing) {
  const auto observer = observer_at(agent_.primary);
  const WorkloadSnapshot snapshot = observer->snapshot(soon);
  EXPECT_EQ(snapshot.statements, std::nullopt);
  EXPECT_EQ(snapshot.statements_problem, "pg_stat_statements is not installed in testdb");
  EXPECT_THAT(snapshot.statements_hint, HasSubstr("CREATE EXTENSION pg_stat_statements"));
  EXPECT_THAT(observer->texts({1, 2}, soon), IsEmpty());
}

TEST_F(WorkloadTest, SaysThatItsLibraryIsNotLoaded) {
  Session admin(lab_.as("postgres").primary, "test");
  admin.open(soon);
  admin.script("CREATE EXTENSION pg_stat_statements", soon);
  const WorkloadSnapshot snapshot = observer_at(agent_.primary)->snapshot(soon);
  admin.script("DROP EXTENSION pg_stat_statements", soon);
  EXPECT_EQ(snapshot.statements, std::nullopt);
  EXPECT_THAT(snapshot.statements_problem, HasSubstr("shared_preload_libraries"));
  EXPECT_THAT(snapshot.statements_hint, HasSubstr("a restart"));
  EXPECT_TRUE(snapshot.counters.contains("commits")) << "everything else is known";
}

}  // namespace
}  // namespace pgrm
