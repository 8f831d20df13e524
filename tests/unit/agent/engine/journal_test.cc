#include "agent/engine/journal.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "core/base/error.h"
#include "tests/fakes/fake_clock.h"

namespace pgrm::agent {
namespace {

std::string read(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

class JournalOnDisk : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = testing::TempDir() + "journal-" + std::to_string(getpid());
    std::filesystem::create_directory(directory_);
    path_ = directory_ + "/journal.jsonl";
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  std::string directory_, path_;
  FakeClock clock_;
};

TEST_F(JournalOnDisk, SurvivesBeingCutAtEveryByte) {
  {
    Journal journal(create_journal_file(path_), clock_, {{"id", "x"}}, {{"hooks", ""}});
    journal.begin("fence", {{"default_transaction_read_only", nullptr}});
    journal.done("fence", "a \"quoted\" evidence\nof two lines");
    journal.undone("fence");
    journal.end(5);
  }
  const std::string whole = read(path_);
  EXPECT_EQ(parse_journal(whole).size(), 5U);
  for (std::size_t length = 0; length <= whole.size(); ++length) {
    const auto records = parse_journal(std::string_view(whole).substr(0, length));
    const auto lines = std::count(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length), '\n');
    EXPECT_EQ(records.size(), static_cast<std::size_t>(lines)) << "cut at " << length;
  }
}

TEST_F(JournalOnDisk, IsReadableByItsOwnerOnly) {
  create_journal_file(path_);
  struct stat status {};
  ASSERT_EQ(stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
}

TEST_F(JournalOnDisk, NeverOverwritesAnother) {
  create_journal_file(path_);
  EXPECT_THROW(create_journal_file(path_), Error);
}

TEST(ParseJournal, StopsAtDamage) {
  const std::string head = R"({"record":"journal","version":4})"
                           "\n";
  EXPECT_EQ(parse_journal(head).size(), 1U);
  EXPECT_THROW(parse_journal(head + "garbage\n" + head), Error);
  EXPECT_THROW(parse_journal(R"({"record":"journal","version":99})"
                             "\n"),
               Error);
  EXPECT_THROW(parse_journal(R"({"record":"begin","step":"fence"})"
                             "\n"),
               Error)
      << "no version line";
  EXPECT_THROW(parse_journal("{}\n"), Error);
}

}  // namespace
}  // namespace pgrm::agent
