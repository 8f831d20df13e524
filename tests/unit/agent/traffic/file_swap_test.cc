#include "agent/traffic/file_swap.h"

#include <gmock/gmock.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

#include "agent/base/state_dir.h"
#include "core/base/error.h"

namespace pgrm::agent {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class FileSwap : public testing::Test {
 protected:
  FileSwap() {
    std::string name = fs::temp_directory_path() / "file_swap.XXXXXX";
    directory_ = mkdtemp(name.data());
    path_ = directory_ / "databases.ini";
    std::ofstream(path_) << "old\n";
    chmod(path_.c_str(), 0640);
  }
  ~FileSwap() override { fs::remove_all(directory_); }

  struct stat seen() const {
    struct stat file {};
    EXPECT_EQ(stat(path_.c_str(), &file), 0);
    return file;
  }

  fs::path directory_, path_;
};

TEST_F(FileSwap, KeepsTheMode) {
  EXPECT_EQ(swap_problem(path_), "");
  stage(path_, "new\n");
  EXPECT_EQ(read_file(path_), "old\n");
  swap_in(path_);
  EXPECT_EQ(read_file(path_), "new\n");
  EXPECT_EQ(seen().st_mode & 07777, 0640U);
  EXPECT_FALSE(fs::exists(staged_name(path_)));
}

TEST_F(FileSwap, FollowsNoLinkThatSomebodyHasPutInItsWay) {
  const fs::path other = directory_ / "other";
  std::ofstream(other) << "not the pooler's\n";
  fs::create_symlink(other, staged_name(path_));
  stage(path_, "new\n");
  swap_in(path_);
  EXPECT_EQ(read_file(other), "not the pooler's\n");
  EXPECT_EQ(read_file(path_), "new\n");
  EXPECT_FALSE(fs::is_symlink(path_));
}

TEST_F(FileSwap, HasNothingToPutInPlace) {
  try {
    swap_in(path_);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::file_failed);
  }
  EXPECT_EQ(read_file(path_), "old\n");
}

/// Of a user and a group that is not the user's.
class ForeignFileSwap : public FileSwap {
 protected:
  static constexpr uid_t user = 65'000;
  static constexpr gid_t group = 65'001;

  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root, to be another user";
    ASSERT_EQ(chown(directory_.c_str(), user, user), 0);
    ASSERT_EQ(chown(path_.c_str(), user, group), 0);
  }

  /// Whether `holds` does when that user, without other groups, asks.
  static bool as_user(const std::function<bool()>& holds) {
    const pid_t child = fork();
    if (child == 0) {
      const bool became = setgroups(0, nullptr) == 0 && setgid(user) == 0 && setuid(user) == 0;
      _exit(became && holds() ? 0 : 1);
    }
    int status = 1;
    waitpid(child, &status, 0);
    return status == 0;
  }
};

TEST_F(ForeignFileSwap, IsRefusedWithoutTheGroup) {
  EXPECT_TRUE(as_user([&] { return swap_problem(path_).find("would not have its group") != std::string::npos; }));
  EXPECT_TRUE(as_user([&] {
    try {
      stage(path_, "new\n");
    } catch (const Error& error) {
      return error.code() == ErrorCode::file_failed;
    }
    return false;
  }));
}

TEST_F(ForeignFileSwap, NeedsNoGroupThatMayDoNothing) {
  chmod(path_.c_str(), 0600);
  EXPECT_TRUE(as_user([&] { return swap_problem(path_).empty(); }));
  EXPECT_TRUE(as_user([&] { return stage(path_, "new\n"), true; }));
}

TEST_F(ForeignFileSwap, HasTheGroupFromItsDirectory) {
  ASSERT_EQ(chown(directory_.c_str(), user, group), 0);
  ASSERT_EQ(chmod(directory_.c_str(), 02755), 0);
  EXPECT_TRUE(as_user([&] { return swap_problem(path_).empty(); }));
  EXPECT_TRUE(as_user([&] { return stage(path_, "new\n"), swap_in(path_), true; }));
  EXPECT_EQ(read_file(path_), "new\n");
  EXPECT_EQ(seen().st_gid, group);
}

TEST_F(ForeignFileSwap, IsKeptByRoot) {
  stage(path_, "new\n");
  swap_in(path_);
  EXPECT_EQ(seen().st_uid, user);
  EXPECT_EQ(seen().st_gid, group);
}

TEST_F(ForeignFileSwap, IsRefusedToAnother) {
  chown(path_.c_str(), 0, 0);
  EXPECT_TRUE(as_user([&] { return swap_problem(path_).find("another user's") != std::string::npos; }));
}

}  // namespace
}  // namespace pgrm::agent
