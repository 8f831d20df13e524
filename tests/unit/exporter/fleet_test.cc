#include "exporter/fleet.h"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>

#include "core/base/wait.h"
#include "tests/fakes/fake_cluster.h"

namespace pgrm::exporter {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// Servers in memory by their host; each stands in a cluster of its own, because several threads look at them. A host
/// that begins with "hang" does not answer before the end.
class Servers {
 public:
  ~Servers() { release(); }

  Fleet::MakeNode maker() {
    return [this](const Conninfo& server) {
      const std::lock_guard lock(mutex_);
      ++made[server.host()];
      FakeCluster& cluster = *clusters_.emplace_back(std::make_unique<FakeCluster>());
      if (server.host().starts_with("hang")) cluster.before = [this](const std::string&) { hang(); };
      return cluster.node(server.host().ends_with("primary") ? Side::primary : Side::replica);
    };
  }
  void release() {
    const std::lock_guard lock(mutex_);
    released_ = true;
    changed_.notify_all();
  }

  std::map<std::string, int> made;  // how many sessions there were to each host

 private:
  void hang() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return released_; });
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool released_ = false;
  std::vector<std::unique_ptr<FakeCluster>> clusters_;
};

NamedPair pair_of(const std::string& name, Duration interval = milliseconds(50)) {
  const auto server = [&](const char* side) { return Conninfo::parse("host=" + name + "-" + side); };
  return {.name = name,
          .labels = {},
          .pair = {.primary = server("primary"), .replica = server("replica")},
          .policy = {.thresholds = {}, .required = 3, .interval = interval}};
}

class FleetTest : public testing::Test {
 protected:
  ~FleetTest() override { servers_.release(); }

  int streak(const std::string& name) const { return fleet_.view(name)->view.streak().consecutive(); }
  bool comes(const std::function<bool()>& condition) const {
    return wait_until(system_clock(), seconds(30), milliseconds(2), {}, condition) == WaitEnd::reached;
  }

  Servers servers_;
  Fleet fleet_{servers_.maker()};
};

TEST_F(FleetTest, LooksAtEveryPairOnItsOwn) {
  fleet_.watch({pair_of("b"), pair_of("a")});
  EXPECT_TRUE(comes([&] { return streak("a") >= 3 && streak("b") >= 3; }));
  const auto views = fleet_.views();
  ASSERT_EQ(views.size(), 2U);
  EXPECT_EQ(views[0].name, "a");
  EXPECT_EQ(views[1].name, "b");
  EXPECT_FALSE(fleet_.view("c"));
}

TEST_F(FleetTest, PairsThatHangDelayNoOther) {
  std::vector<NamedPair> pairs{pair_of("well")};
  for (int i = 0; i < 20; ++i) pairs.push_back(pair_of("hang" + std::to_string(i)));
  fleet_.watch(pairs);
  EXPECT_TRUE(comes([&] { return streak("well") >= 10; }));
  for (const NamedView& pair : fleet_.views()) {
    if (pair.name == "well") continue;
    EXPECT_EQ(pair.view.server(Side::primary), nullptr) << pair.name;
  }
  EXPECT_LE(fleet_.threads(), 3 * pairs.size());
}

TEST_F(FleetTest, APairThatDidNotChangeGoesOnWithItsStreakAndItsSessions) {
  fleet_.watch({pair_of("stays"), pair_of("goes")});
  EXPECT_TRUE(comes([&] { return streak("stays") >= 3; }));
  const int before = streak("stays");
  NamedPair renamed = pair_of("stays");
  renamed.labels = {{"team", "payments"}};
  fleet_.watch({pair_of("comes"), renamed});
  EXPECT_GE(streak("stays"), before);
  EXPECT_EQ(servers_.made.at("stays-primary"), 1);
  EXPECT_FALSE(fleet_.view("goes"));
  EXPECT_EQ(fleet_.view("stays")->labels.at("team"), "payments");
  EXPECT_TRUE(comes([&] { return streak("comes") >= 3; }));
}

TEST_F(FleetTest, OneWithAnotherThresholdBeginsAnew) {
  fleet_.watch({pair_of("a")});
  EXPECT_TRUE(comes([&] { return streak("a") >= 3; }));
  NamedPair stricter = pair_of("a");
  stricter.policy.thresholds.bytes = 1;
  fleet_.watch({stricter});
  EXPECT_EQ(servers_.made.at("a-primary"), 2);
  EXPECT_TRUE(comes([&] { return streak("a") >= 3; }));
}

TEST_F(FleetTest, OneThatHangsCanBeTakenOut) {
  fleet_.watch({pair_of("hang"), pair_of("well")});
  EXPECT_TRUE(comes([&] { return streak("well") >= 1; }));
  fleet_.watch({pair_of("well")});
  EXPECT_FALSE(fleet_.view("hang"));
}

}  // namespace
}  // namespace pgrm::exporter
