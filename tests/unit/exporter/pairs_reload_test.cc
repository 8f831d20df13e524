#include "exporter/pairs_reload.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "core/base/error.h"
#include "tests/fakes/fake_cluster.h"

namespace pgrm::exporter {
namespace {

class PairsReloadTest : public testing::Test {
 protected:
  PairsReloadTest() { write("1"); }
  ~PairsReloadTest() override { std::filesystem::remove(path_); }

  void write(const std::string& text) const { std::ofstream(path_) << text; }

  const std::string path_ = testing::TempDir() + "reload_" + std::to_string(getpid()) + ".yml";
  int reads_ = 0;
  bool faulty_ = false;
  Fleet fleet_{[](const Conninfo&) -> std::unique_ptr<Node> { throw Error(ErrorCode::internal, "nobody is watched"); }};
};

TEST_F(PairsReloadTest, ReadsWhenAskedAndWhenTheFileHasChangedAndStandsStill) {
  PairsReload reload(
      path_,
      [this]() -> std::vector<NamedPair> {
        ++reads_;
        if (faulty_) throw Error(ErrorCode::configuration, "one\ntwo");
        return {};
      },
      fleet_);
  reload.look(false);
  reload.look(false);
  EXPECT_EQ(reads_, 0);
  reload.look(true);
  EXPECT_EQ(reads_, 1);

  write("more");
  reload.look(false);
  EXPECT_EQ(reads_, 1) << "it may still be written";
  write("and more");
  reload.look(false);
  EXPECT_EQ(reads_, 1);
  reload.look(false);
  EXPECT_EQ(reads_, 2);
  reload.look(false);
  EXPECT_EQ(reads_, 2);

  faulty_ = true;
  write("wrong in the end");
  for (int i = 0; i < 5; ++i) reload.look(false);
  EXPECT_EQ(reads_, 3) << "once, not again and again";

  std::filesystem::remove(path_);
  for (int i = 0; i < 5; ++i) reload.look(false);
  EXPECT_EQ(reads_, 4);
}

}  // namespace
}  // namespace pgrm::exporter
