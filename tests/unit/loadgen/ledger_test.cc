#include "loadgen/ledger.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <future>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "core/base/error.h"
#include "tests/fakes/fake_clock.h"

namespace pgrm::loadgen {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr auto database = "7612345678901234567/9f0c7c1e-0000-4000-8000-000000000001";

/// A directory that goes away with the test.
class LedgerTest : public testing::Test {
 protected:
  LedgerTest() {
    std::string name = testing::TempDir() + "ledger.XXXXXX";
    directory_ = mkdtemp(name.data());
    path_ = directory_ / "ledger";
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  std::string content() const {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void set_content(const std::string& text) const { std::ofstream(path_, std::ios::binary | std::ios::trunc) << text; }

  std::unique_ptr<Ledger> open(std::int64_t run, Ledger::Durable durable = {}, Ledger::Failed failed = {}) const {
    return std::make_unique<Ledger>(path_, database, run, clock_, std::move(durable), std::move(failed));
  }

  /// What a reader gets, as words: "run 7", "acknowledged 7 0", "end 7".
  std::vector<std::string> read(LedgerContent* summary = nullptr) const {
    std::vector<std::string> records;
    const auto words = [&records](const std::string& first, std::int64_t run, const std::string& last = "") {
      records.push_back(first + " " + std::to_string(run) + last);
    };
    const LedgerContent whole =
        read_ledger(path_, {.run_began = [&](std::int64_t run) { words("run", run); },
                            .outcome =
                                [&](std::int64_t run, std::uint64_t number, Result result) {
                                  words(std::string(result_names[index_of(result)]), run, " " + std::to_string(number));
                                },
                            .run_ended = [&](std::int64_t run) { words("end", run); }});
    if (summary != nullptr) *summary = whole;
    return records;
  }

  ErrorCode refusal(const std::function<void()>& action) const {
    try {
      action();
    } catch (const Error& error) {
      message_ = error.what();
      return error.code();
    }
    ADD_FAILURE() << "nothing was thrown";
    return ErrorCode::internal;
  }

  std::filesystem::path directory_, path_;
  FakeClock clock_;
  mutable std::string message_;
};

Outcome outcome(std::uint64_t number, Result result = Result::acknowledged, std::string sqlstate = {}) {
  return {.number = number, .operation = 0, .result = result, .sqlstate = std::move(sqlstate)};
}

TEST_F(LedgerTest, KeepsWhatIsRecorded) {
  auto ledger = open(7);
  ledger->record(outcome(0));
  ledger->record(outcome(1, Result::failed, "23505"));
  ledger->record(outcome(2, Result::failed));
  ledger->record(outcome(3, Result::in_doubt));
  ledger->finish();
  LedgerContent summary;
  EXPECT_THAT(read(&summary),
              ElementsAre("run 7", "acknowledged 7 0", "failed 7 1", "failed 7 2", "in_doubt 7 3", "end 7"));
  EXPECT_EQ(summary.identity, database);
  EXPECT_EQ(summary.torn_bytes, 0U);
  EXPECT_THAT(content(), HasSubstr("\na 0 insert_user\nf 1 insert_user 23505\nf 2 insert_user -\nd 3 insert_user\n"));
}

TEST_F(LedgerTest, GoesOnWithAnotherRun) {
  auto first = open(7);
  first->record(outcome(0));
  first->finish();
  first.reset();
  auto second = open(8);
  second->record(outcome(0));
  second->finish();
  EXPECT_THAT(read(), ElementsAre("run 7", "acknowledged 7 0", "end 7", "run 8", "acknowledged 8 0", "end 8"));
}

TEST_F(LedgerTest, ARunThatWasKilledHasNoEnd) {
  open(7)->record(outcome(0));
  EXPECT_THAT(read(), ElementsAre("run 7", "acknowledged 7 0"));
}

TEST_F(LedgerTest, CountsOnlyWhatIsOnTheDisk) {
  std::vector<std::uint64_t> counted;
  auto ledger = open(7, [&](std::span<const Outcome> batch) {
    // At this moment a reader must find every one of the batch.
    const auto records = read();
    for (const Outcome& done : batch) {
      counted.push_back(done.number);
      EXPECT_THAT(records, testing::Contains("acknowledged 7 " + std::to_string(done.number)));
    }
  });
  for (std::uint64_t number = 0; number < 100; ++number) ledger->record(outcome(number));
  ledger->flush();
  EXPECT_EQ(counted.size(), 100U);
  ledger->record(outcome(100));
  ledger->finish();
  EXPECT_EQ(counted.size(), 101U);
}

TEST_F(LedgerTest, TakesRecordsFromManyThreads) {
  auto ledger = open(7);
  {
    std::vector<std::jthread> clients;
    for (std::uint64_t client = 0; client < 8; ++client) {
      clients.emplace_back([&ledger, client] {
        for (std::uint64_t i = 0; i < 500; ++i) {
          ledger->record(outcome(client * 500 + i));
          if (i % 100 == 0) ledger->flush();
        }
      });
    }
  }
  ledger->finish();
  EXPECT_EQ(read().size(), 4002U);
}

/// Three batches: title and run; numbers 0 and 1; numbers 2 and 3 in doubt and failed. No end.
std::string three_batches(LedgerTest&, const std::filesystem::path& path, const Clock& clock) {
  {
    Ledger ledger(path, database, 7, clock, {}, {});
    ledger.record(outcome(0));
    ledger.record(outcome(1));
    ledger.flush();
    ledger.record(outcome(2, Result::in_doubt));
    ledger.record(outcome(3, Result::failed));
    ledger.flush();
  }
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Where each batch ends.
std::vector<std::size_t> seals(const std::string& text) {
  std::vector<std::size_t> ends;
  for (std::size_t at = text.find("\n= "); at != std::string::npos; at = text.find("\n= ", at + 1)) {
    ends.push_back(text.find('\n', at + 1) + 1);
  }
  return ends;
}

TEST_F(LedgerTest, CutAtAnyByteItHoldsTheWholeBatchesBeforeTheCut) {
  const std::string whole = three_batches(*this, path_, clock_);
  const std::vector<std::size_t> ends = seals(whole);
  ASSERT_GE(ends.size(), 3U);
  const auto all = read();
  for (std::size_t cut = 0; cut <= whole.size(); ++cut) {
    set_content(whole.substr(0, cut));
    LedgerContent summary;
    const auto records = read(&summary);
    std::size_t expected_bytes = 0;
    for (const std::size_t end : ends) expected_bytes = end <= cut ? end : expected_bytes;
    ASSERT_EQ(summary.whole_bytes, expected_bytes) << cut;
    ASSERT_EQ(summary.torn_bytes, cut - expected_bytes) << cut;
    ASSERT_LE(records.size(), all.size());
    ASSERT_TRUE(std::equal(records.begin(), records.end(), all.begin())) << cut;
    ASSERT_EQ(summary.identity.empty(), expected_bytes == 0) << cut;

    // And a run can be appended to it, after which it is whole again.
    auto next = open(8);
    next->record(outcome(0));
    next->finish();
    next.reset();
    auto longer = records;
    for (const char* const added : {"run 8", "acknowledged 8 0", "end 8"}) longer.emplace_back(added);
    ASSERT_EQ(read(&summary), longer) << cut;
    ASSERT_EQ(summary.torn_bytes, 0U) << cut;
  }
}

TEST_F(LedgerTest, AnyByteChangedIsNoticed) {
  const std::string whole = three_batches(*this, path_, clock_);
  const std::size_t last_batch = seals(whole).rbegin()[1] - 1;  // from the end of the line before it
  const auto all = read();
  for (std::size_t at = 0; at < whole.size(); ++at) {
    std::string changed = whole;
    changed[at] = static_cast<char>(changed[at] ^ 0x01);
    set_content(changed);
    std::vector<std::string> records;
    try {
      records = read();
    } catch (const Error&) {
      continue;  // refused: good
    }
    // Otherwise it has to look like a torn tail, which nobody counted on; or it was the time in a seal, for people
    // only.
    ASSERT_TRUE(records == all || at >= last_batch) << "byte " << at << " was changed unnoticed";
    ASSERT_TRUE(std::equal(records.begin(), records.end(), all.begin())) << at;
  }
}

TEST_F(LedgerTest, ABatchTakenOutIsNoticed) {
  const std::string whole = three_batches(*this, path_, clock_);
  const auto ends = seals(whole);
  set_content(whole.substr(0, ends[0]) + whole.substr(ends[1]));
  EXPECT_EQ(refusal([&] { read(); }), ErrorCode::file_failed);
}

TEST_F(LedgerTest, DamageBeforeTheEndIsNoTornTail) {
  std::string text = three_batches(*this, path_, clock_);
  const auto at = text.find("a 1 insert_user");
  text[at] = 'f';
  set_content(text);
  EXPECT_EQ(refusal([&] { read(); }), ErrorCode::file_failed);
  EXPECT_THAT(message_, HasSubstr("damaged after byte"));
  EXPECT_EQ(refusal([&] { open(8); }), ErrorCode::file_failed);
  EXPECT_EQ(content(), text) << "and it is left as it is";
}

TEST_F(LedgerTest, RefusesTheLedgerOfAnotherDatabase) {
  open(7)->finish();
  const std::string before = content();
  EXPECT_EQ(refusal([&] { Ledger(path_, "other", 8, clock_, {}, {}); }), ErrorCode::configuration);
  EXPECT_THAT(message_, HasSubstr(database));
  EXPECT_EQ(content(), before);
}

TEST_F(LedgerTest, RefusesAFileThatIsNoLedger) {
  for (const char* const text : {"dear diary\n", "pgrm-ledger 2 x\n", "{}", "\n"}) {
    set_content(text);
    EXPECT_EQ(refusal([&] { open(7); }), ErrorCode::configuration) << text;
    EXPECT_EQ(content(), text) << "and it is left as it is";
  }
}

TEST_F(LedgerTest, RefusesTwoWritersAtATime) {
  const auto first = open(7);
  EXPECT_EQ(refusal([&] { open(8); }), ErrorCode::file_failed);
  EXPECT_THAT(message_, HasSubstr("in use"));
}

TEST_F(LedgerTest, SaysWhyItCannotBeOpened) {
  EXPECT_EQ(refusal([&] { Ledger(directory_ / "no" / "such", database, 7, clock_, {}, {}); }), ErrorCode::file_failed);
  EXPECT_THAT(message_, HasSubstr("No such file"));
  EXPECT_EQ(refusal([&] { read(); }), ErrorCode::file_failed);
}

/// No file may grow beyond `bytes`: the nearest to a full disk that needs no privilege.
class SizeLimit {
 public:
  explicit SizeLimit(rlim_t bytes) {
    std::signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~SizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, SIG_DFL);
  }
  SizeLimit(const SizeLimit&) = delete;
  SizeLimit& operator=(const SizeLimit&) = delete;

 private:
  rlimit before_{};
};

TEST_F(LedgerTest, AFullDiskEndsTheRunAndCountsNothingThatIsNotRecorded) {
  std::vector<std::uint64_t> counted;
  std::promise<void> told;
  auto ledger = open(
      7,
      [&](std::span<const Outcome> batch) {
        for (const Outcome& done : batch) counted.push_back(done.number);
      },
      [&] { told.set_value(); });
  ledger->record(outcome(0));
  ledger->flush();
  const std::string before = content();
  {
    const SizeLimit full(before.size() + 10);
    ledger->record(outcome(1));
    EXPECT_EQ(refusal([&] { ledger->flush(); }), ErrorCode::file_failed);
    EXPECT_THAT(message_, HasSubstr(path_.string()));
    told.get_future().wait();
  }
  ledger->record(outcome(2));  // does nothing, and does not wait
  EXPECT_EQ(refusal([&] { ledger->finish(); }), ErrorCode::file_failed);
  ledger.reset();
  EXPECT_THAT(counted, ElementsAre(0U));
  EXPECT_EQ(content(), before) << "no part of the batch stays behind";
  EXPECT_THAT(read(), ElementsAre("run 7", "acknowledged 7 0"));
}

}  // namespace
}  // namespace pgrm::loadgen
