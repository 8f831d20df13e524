#include "agent/base/process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "agent/traffic/traffic.h"
#include "core/base/error.h"

namespace pgrm::agent {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;

ErrorCode code_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << "nothing was thrown";
  return ErrorCode::internal;
}

TEST(RunCommand, PassesTheEnvironmentAndSucceeds) {
  run_command({"/bin/sh", "-c", "test \"$PGRM_HOOK\" = here"}, {{"PGRM_HOOK", "here"}}, std::chrono::seconds(10));
}

TEST(RunCommand, AnyOtherExitStatusIsAnError) {
  try {
    run_command({"/bin/sh", "-c", "exit 3"}, {}, std::chrono::seconds(10));
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("exited with 3"));
  }
}

TEST(RunCommand, KillsWhatOverrunsItsBudgetWithItsChildren) {
  EXPECT_EQ(code_of([] {
              run_command({"/bin/sh", "-c", "sleep 1000 & wait"}, {}, std::chrono::milliseconds(50));
            }),
            ErrorCode::timeout);
}

TEST(RunCommand, SaysWhenThereIsNothingToRun) {
  EXPECT_EQ(code_of([] { run_command({"/nonexistent"}, {}, std::chrono::seconds(1)); }), ErrorCode::file_failed);
}

TEST(RunCommand, DoesNotHandOnBlockedSignals) {
  run_command({"/bin/sh", "-c", "test \"$(sed -n 's/^SigBlk:[[:space:]]*0*//p' /proc/self/status)\" = ''"}, {},
              std::chrono::seconds(10));
}

class Hooks : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = testing::TempDir() + "hooks-" + std::to_string(getpid());
    std::filesystem::create_directory(directory_);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  void write(const std::string& name, const std::string& body, bool executable) const {
    const auto path = std::filesystem::path(directory_) / name;
    std::ofstream(path) << "#!/bin/sh\n" << body << "\n";
    std::filesystem::permissions(path,
                                 executable ? std::filesystem::perms::owner_all : std::filesystem::perms::owner_read);
  }
  std::vector<std::string> present() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(directory_)) names.push_back(entry.path().filename());
    return names;
  }
  std::unique_ptr<Traffic> hooks() const {
    return make_hook_traffic(directory_, present(), {"id", "old:1", "new:2", "db"});
  }

  std::string directory_;
};

TEST_F(Hooks, RunInTheirOrderWithTheirEnvironment) {
  const std::string note = directory_ + "/note";
  for (const char* hook : {"pre_fence", "post_fence", "post_promote", "on_undo"}) {
    write(hook,
          "echo $PGRM_HOOK $PGRM_CUTOVER $PGRM_OLD_PRIMARY $PGRM_NEW_PRIMARY $PGRM_DATABASE $PGRM_SECONDS >>" + note,
          true);
  }
  const auto traffic = hooks();
  traffic->stop(std::chrono::seconds(10));
  traffic->after_fence(std::chrono::seconds(10));
  traffic->resume_on_new(std::chrono::seconds(10));
  traffic->resume_on_old(std::chrono::seconds(10));
  std::ifstream file(note);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  EXPECT_EQ(text,
            "pre_fence id old:1 new:2 db 10.00\npost_fence id old:1 new:2 db 10.00\n"
            "post_promote id old:1 new:2 db 10.00\non_undo id old:1 new:2 db 10.00\n");
}

TEST_F(Hooks, TheirOrdersAreSaidBeforehand) {
  write("pre_fence", "exit 1", true);
  const auto traffic = hooks();
  EXPECT_THAT(traffic->orders(TrafficCall::stop),
              ElementsAre(AllOf(HasSubstr("PGRM_HOOK=pre_fence "), HasSubstr("PGRM_OLD_PRIMARY=old:1 "),
                                EndsWith(directory_ + "/pre_fence"))));
  EXPECT_THAT(traffic->orders(TrafficCall::resume_on_new), IsEmpty());
}

TEST_F(Hooks, OneThatWasNeverThereIsSkipped) { hooks()->stop(std::chrono::seconds(1)); }

TEST_F(Hooks, OneThatIsNotThereAnyMoreIsAnError) {
  write("on_undo", "exit 0", true);
  const auto traffic = hooks();
  std::filesystem::remove(directory_ + "/on_undo");
  EXPECT_EQ(code_of([&] { traffic->resume_on_old(std::chrono::seconds(10)); }), ErrorCode::file_failed);
}

TEST_F(Hooks, OneThatFailsIsAnError) {
  write("post_fence", "exit 1", true);
  EXPECT_EQ(code_of([&] { hooks()->after_fence(std::chrono::seconds(10)); }), ErrorCode::query_failed);
}

TEST_F(Hooks, OneThatCannotBeExecutedIsFoundBeforehand) {
  EXPECT_THAT(hooks()->problem(), HasSubstr("has no hook"));
  write("pre_fence", "", true);
  EXPECT_EQ(hooks()->problem(), "");
  write("on_undo", "", false);
  EXPECT_THAT(hooks()->problem(), HasSubstr("on_undo is not executable"));
  EXPECT_THAT(make_hook_traffic("/nonexistent", {}, {})->problem(), HasSubstr("no directory"));
}

}  // namespace
}  // namespace pgrm::agent
