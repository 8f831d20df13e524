#include "loadgen/verify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/error.h"

namespace pgrm::loadgen {
namespace {

bool is_only(const Ranges& ranges, std::uint64_t first, std::uint64_t last) {
  return ranges.all().size() == 1 && ranges.all()[0].first == first && ranges.all()[0].last == last;
}

TEST(Ranges, JoinWhatFollows) {
  Ranges ranges;
  EXPECT_FALSE(ranges.contains(0));
  ranges.add(3);
  ranges.add(4);
  ranges.add(5, 7);
  ranges.add(9);
  EXPECT_EQ(ranges.count(), 6U);
  EXPECT_EQ(ranges.all().size(), 2U);
  for (const std::uint64_t inside : {3U, 5U, 7U, 9U}) EXPECT_TRUE(ranges.contains(inside)) << inside;
  for (const std::uint64_t outside : {2U, 8U, 10U}) EXPECT_FALSE(ranges.contains(outside)) << outside;
}

class RunProofTest : public testing::Test {
 protected:
  /// 0 to 9 acknowledged, 10 failed, 11 and 12 in doubt.
  void SetUp() override {
    for (std::uint64_t number = 0; number < 10; ++number) proof_.record(number, Result::acknowledged);
    proof_.record(10, Result::failed);
    proof_.record(11, Result::in_doubt);
    proof_.record(12, Result::in_doubt);
    proof_.ended();
  }
  RunProof proof_;
};

TEST_F(RunProofTest, HoldsWhenEverythingAcknowledgedIsThere) {
  proof_.found(0, 9);
  proof_.found(11, 11);
  const RunProof::Verdict verdict = proof_.verdict();
  EXPECT_TRUE(verdict.holds());
  EXPECT_EQ(verdict.acknowledged, 10U);
  EXPECT_EQ(verdict.failed, 1U);
  EXPECT_EQ(verdict.in_doubt, 2U);
  EXPECT_EQ(verdict.in_doubt_present, 1U);
  EXPECT_EQ(verdict.missing.count(), 0U);
}

TEST_F(RunProofTest, FindsWhatIsMissing) {
  proof_.found(0, 3);
  proof_.found(7, 9);
  const RunProof::Verdict verdict = proof_.verdict();
  EXPECT_FALSE(verdict.holds());
  EXPECT_TRUE(is_only(verdict.missing, 4, 6));
}

TEST_F(RunProofTest, FindsAllMissingWhenTheServerHoldsNothing) { EXPECT_TRUE(is_only(proof_.verdict().missing, 0, 9)); }

TEST_F(RunProofTest, FindsWhatFailedAndIsThereAllTheSame) {
  proof_.found(0, 10);
  const RunProof::Verdict verdict = proof_.verdict();
  EXPECT_FALSE(verdict.holds());
  EXPECT_TRUE(is_only(verdict.failed_present, 10, 10));
}

TEST_F(RunProofTest, FindsWhatNobodyRecorded) {
  proof_.found(0, 9);
  proof_.found(13, 15);
  const RunProof::Verdict verdict = proof_.verdict();
  EXPECT_FALSE(verdict.holds()) << "the run ended with nothing in flight";
  EXPECT_TRUE(is_only(verdict.unrecorded, 13, 15));
  EXPECT_TRUE(proof_.present(14));
  EXPECT_FALSE(proof_.present(16));
}

TEST(RunProof, OfAKilledRunMayHoldWhatWasInFlight) {
  RunProof proof;
  proof.record(0, Result::acknowledged);
  proof.record(2, Result::acknowledged);
  proof.found(0, 3);
  const RunProof::Verdict verdict = proof.verdict();
  EXPECT_TRUE(verdict.holds());
  EXPECT_EQ(verdict.unrecorded.count(), 2U);
}

TEST(ServerToVerify, TakesFromThePairWhatItDoesNotName) {
  const Conninfo primary = Conninfo::parse("host=old port=1 user=app dbname=shop password=secret");
  const Pair pair{primary, primary.with("host", "new")};
  const Conninfo server = server_to_verify("host=third port=3", pair);
  EXPECT_EQ(server.describe(), "app@third:3/shop");
  EXPECT_EQ(server.get("password"), "secret");
  EXPECT_EQ(server_to_verify("host=third user=me dbname=mine", pair).describe(), "me@third:5432/mine");
}

TEST(ServerToVerify, RefusesAPassword) {
  const Pair pair{Conninfo::parse("host=a"), Conninfo::parse("host=b")};
  try {
    server_to_verify("postgresql://me:secret@third/shop", pair);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    EXPECT_THAT(error.what(), testing::Not(testing::HasSubstr("secret")));
  }
}

}  // namespace
}  // namespace pgrm::loadgen
