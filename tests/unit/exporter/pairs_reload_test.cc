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
  std::vector<std::string> others_;
  int lists_ = 0;
  bool unlisted_ = false;
  std::function<std::vector<NamedPair>()> read_ = [] { return std::vector<NamedPair>(); };
  int reads_ = 0;
  bool faulty_ = false;
  std::map<std::string, int> begun_;  // how often a server was begun to be watched, by its host
  std::vector<std::unique_ptr<FakeCluster>> clusters_;
  Fleet fleet_{[this](const Conninfo& server) {
    ++begun_[server.host()];
    return clusters_.emplace_back(std::make_unique<FakeCluster>())->node(Side::primary);
  }};
  PairsReload reload_{path_,
                      [this] {
                        ++lists_;
                        if (unlisted_) throw Error(ErrorCode::configuration, "no list of pairs");
                        return others_;
                      },
                      [this] {
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
  others_ = {folder_ + "/password"};
  write(others_.front(), "old");
  for (const std::string& file : {path_, others_.front()}) {
    read_ = [&file, first = true]() mutable {
      if (std::exchange(first, false)) write(file, "replaced by a longer one");
      return std::vector<NamedPair>();
    };
    reads_ = 0;
    reload_.first();
    look();
    EXPECT_EQ(reads_, 2) << file;
  }
}

TEST_F(PairsReloadTest, ReadsWhenAPasswordHasChangedAlsoAfterAFault) {
  others_ = {folder_ + "/password"};
  write(others_.front(), "old");
  reload_.first();
  write(others_.front(), "changed");
  look();
  EXPECT_EQ(reads_, 2);

  std::filesystem::remove(others_.front());
  faulty_ = true;
  look();
  EXPECT_EQ(reads_, 3) << "once, not again and again";
  faulty_ = false;
  write(others_.front(), "back");
  look();
  EXPECT_EQ(reads_, 4);

  unlisted_ = true;
  lists_ = 0;
  write(others_.front(), "changed, and the file of pairs has a fault");
  look();
  EXPECT_EQ(lists_, 1);
}

TEST_F(PairsReloadTest, OnlyThePairWhosePasswordHasChangedBeginsAnew) {
  write(path_,
        "pairs:\n"
        "  - {name: a, primary: host=a, replica: host=a2, postgres-password-file: a.pw}\n"
        "  - {name: b, primary: host=b, replica: host=b2, postgres-password-file: b.pw}\n"
        "  - {name: c, primary: host=c, replica: host=c2}\n");
  for (const char* const name : {"/a.pw", "/b.pw", "/all.pw"}) write(folder_ + name, "old");
  const auto environment = [this](const std::string& name) -> std::optional<std::string> {
    if (name == "POSTGRES_PASSWORD_FILE") return folder_ + "/all.pw";
    return std::nullopt;
  };
  PairsReload reload(
      path_, [&] { return password_files(path_, environment); },
      [&] {
        return pairs_from(Settings({{"PAIRS_FILE", path_}}, environment, {}));
      });
  fleet_.watch(reload.first());
  const std::map<std::string, int> once{{"a", 1}, {"a2", 1}, {"b", 1}, {"b2", 1}, {"c", 1}, {"c2", 1}};
  EXPECT_EQ(begun_, once);
  const std::pair<const char*, const char*> changes[] = {{"/a.pw", "a"}, {"/b.pw", "b"}, {"/all.pw", "c"}};
  for (const auto& [file, pair] : changes) {
    begun_.clear();
    write(folder_ + file, "changed");
    for (int i = 0; i < 4; ++i) reload.look(false, fleet_);
    EXPECT_EQ(begun_, (std::map<std::string, int>{{pair, 1}, {std::string(pair) + "2", 1}})) << file;
  }
}

}  // namespace
}  // namespace pgrm::exporter
