#include "exporter/pairs_reload.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <map>

#include "core/base/error.h"
#include "tests/fakes/fake_cluster.h"

namespace pgrm::exporter {
namespace {

class PairsReloadTest : public testing::Test {
 protected:
  PairsReloadTest() {
    std::filesystem::create_directory(folder_);
    write(path_, "1");
  }
  ~PairsReloadTest() override { std::filesystem::remove_all(folder_); }

  static void write(const std::string& path, const std::string& text) { std::ofstream(path) << text; }
  /// As often as it takes until a change is taken up, and once more.
  void look() {
    for (int i = 0; i < 4; ++i) reload_.look(false, fleet_);
  }

  const std::string folder_ = testing::TempDir() + "reload_" + std::to_string(getpid());
  const std::string path_ = folder_ + "/pairs.yml";
  std::function<std::vector<NamedPair>()> read_ = [] { return std::vector<NamedPair>(); };
  int reads_ = 0;
  bool faulty_ = false;
  std::map<std::string, int> begun_;  // how often a server was begun to be watched, by its host
  std::vector<std::unique_ptr<FakeCluster>> clusters_;
  Fleet fleet_{[this](const Conninfo& server) {
    ++begun_[server.host()];
    return clusters_.emplace_back(std::make_unique<FakeCluster>())->node(Side::primary);
  }};
  PairsReload reload_{path_, [this] {
                        ++reads_;
                        if (faulty_) throw Error(ErrorCode::configuration, "one\ntwo");
                        return read_();
                      }};
};

TEST_F(PairsReloadTest, ReadsWhenAskedAndWhenTheFileHasChangedAndStandsStill) {
  reload_.first();
  look();
  EXPECT_EQ(reads_, 1);
  reload_.look(true, fleet_);
  EXPECT_EQ(reads_, 2);

  write(path_, "more");
  reload_.look(false, fleet_);
  EXPECT_EQ(reads_, 2) << "it may still be written";
  write(path_, "and more");
  reload_.look(false, fleet_);
  EXPECT_EQ(reads_, 2);
  reload_.look(false, fleet_);
  EXPECT_EQ(reads_, 3);
  reload_.look(false, fleet_);
  EXPECT_EQ(reads_, 3);

  faulty_ = true;
  write(path_, "wrong in the end");
  look();
  EXPECT_EQ(reads_, 4) << "once, not again and again";

  std::filesystem::remove(path_);
  look();
  EXPECT_EQ(reads_, 5);
}

TEST_F(PairsReloadTest, ReadsOnceMoreWhatIsReplacedWhileItIsRead) {
  read_ = [this, first = true]() mutable {
    if (std::exchange(first, false)) write(path_, "replaced by a longer one");
    return std::vector<NamedPair>();
  };
  reload_.first();
  look();
  EXPECT_EQ(reads_, 2);
}

TEST_F(PairsReloadTest, APasswordThatHasChangedBeginsNoPairAnewButAnotherFileDoes) {
  const auto pairs = [this](const std::string& password_of_a) {
    write(path_, "pairs:\n  - {name: a, primary: host=a, replica: host=a2, postgres-password-file: " + password_of_a +
                     "}\n  - {name: b, primary: host=b, replica: host=b2, postgres-password-file: b.pw}\n");
  };
  pairs("a.pw");
  for (const char* const name : {"/a.pw", "/b.pw", "/c.pw"}) write(folder_ + name, "old");
  const auto no_environment = [](const std::string&) -> std::optional<std::string> { return std::nullopt; };
  read_ = [&] { return pairs_from(Settings({{"PAIRS_FILE", path_}}, no_environment, {})); };
  fleet_.watch(reload_.first());
  const std::map<std::string, int> once{{"a", 1}, {"a2", 1}, {"b", 1}, {"b2", 1}};
  EXPECT_EQ(begun_, once);
  write(folder_ + "/a.pw", "changed");
  reload_.look(true, fleet_);
  EXPECT_EQ(begun_, once);
  pairs("c.pw");
  reload_.look(true, fleet_);
  EXPECT_EQ(begun_, (std::map<std::string, int>{{"a", 2}, {"a2", 2}, {"b", 1}, {"b2", 1}}));
}

}  // namespace
}  // namespace pgrm::exporter
