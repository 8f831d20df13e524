#include "agent/demote/node_control.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "core/base/error.h"

namespace pgrm::agent {
namespace {

using testing::HasSubstr;

class NodeControlTest : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directory(directory_); }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  void write(const std::string& name, const std::string& body) const {
    std::ofstream(directory_ + "/" + name) << "#!/bin/sh\n" << body << "\n";
    std::filesystem::permissions(directory_ + "/" + name, std::filesystem::perms::owner_all);
  }
  std::string read(const std::string& name) const {
    std::ifstream file(directory_ + "/" + name);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::unique_ptr<NodeControl> control() const {
    return make_node_control(directory_, {Conninfo::parse("host=old"), Conninfo::parse("host=new port=5433"), "slot"});
  }

  static constexpr Duration soon = std::chrono::seconds(10);
  std::string directory_ = testing::TempDir() + "node-control-" + std::to_string(getpid());
};

TEST_F(NodeControlTest, TellsTheCommandWhatItIsAbout) {
  write("rewind",
        "echo $# $PGRM_VERB $PGRM_NODE_HOST $PGRM_NODE_PORT $PGRM_PRIMARY_HOST $PGRM_PRIMARY_PORT "
        "$PGRM_SLOT >$(dirname $0)/said");
  control()->carry_out(NodeVerb::rewind, soon);
  EXPECT_EQ(read("said"), "0 rewind old 5432 new 5433 slot\n");
}

TEST_F(NodeControlTest, ACheckDoesNotActAndSaysWhyItCouldNot) {
  write("stop", "[ \"$1\" = --check ] || touch $(dirname $0)/stopped; echo no right to stop it; exit 1");
  EXPECT_THAT(control()->problem(NodeVerb::stop, soon), HasSubstr("no right to stop it"));
  EXPECT_FALSE(std::filesystem::exists(directory_ + "/stopped"));
  write("stop", "exit 0");
  EXPECT_EQ(control()->problem(NodeVerb::stop, soon), "");
}

TEST_F(NodeControlTest, WhatIsNotThereIsSaid) {
  EXPECT_THAT(control()->problem(NodeVerb::start, soon), HasSubstr("start is not there"));
  const auto none = make_node_control("", {Conninfo::parse("host=old"), Conninfo::parse("host=new"), "slot"});
  EXPECT_THAT(none->problem(NodeVerb::start, soon), HasSubstr("no commands"));
  EXPECT_THROW(none->carry_out(NodeVerb::start, soon), Error);
}

TEST_F(NodeControlTest, AFailureQuotesTheLastLine) {
  write("start", "echo starting; echo 'port 5432 is taken' >&2; exit 4");
  try {
    control()->carry_out(NodeVerb::start, soon);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("exited with 4: port 5432 is taken"));
  }
}

}  // namespace
}  // namespace pgrm::agent
