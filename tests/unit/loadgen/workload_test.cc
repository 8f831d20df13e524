#include "loadgen/workload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <string>

#include "core/base/error.h"
#include "loadgen/catalogue.h"

namespace pgrm::loadgen {
namespace {

using testing::HasSubstr;

int highest_placeholder(const std::string& sql) {
  int highest = 0;
  for (std::size_t at = sql.find('$'); at != std::string::npos; at = sql.find('$', at + 1)) {
    highest = std::max(highest, sql[at + 1] - '0');
  }
  return highest;
}

TEST(Operations, HaveNamesOfTheirOwn) {
  std::set<std::string> names;
  for (const Operation& operation : operations) {
    EXPECT_TRUE(names.insert(operation.name).second) << operation.name;
    EXPECT_STREQ(operation.statement.name, operation.name);
    EXPECT_GT(operation.share, 0) << operation.name;
  }
}

TEST(Operations, CommitTheirProofWithTheirEffect) {
  for (const Operation& operation : operations) {
    EXPECT_THAT(operation.statement.sql,
                HasSubstr("INSERT INTO loadgen_operations (run, operation) VALUES ($1::bigint, $2::bigint)"))
        << operation.name;
    EXPECT_THAT(operation.statement.sql, HasSubstr(operation.table)) << operation.name;
  }
}

TEST(Operations, BindEveryParameter) {
  for (const Operation& operation : operations) {
    Random random(1, 2);
    Params params{"run", "number"};
    operation.bind(random, params);
    EXPECT_EQ(static_cast<int>(params.size()), highest_placeholder(operation.statement.sql)) << operation.name;
  }
}

TEST(Operations, PurgeOnlyWhatVerifyDoesNotLookFor) {
  const auto* const purge = std::ranges::find(operations, std::string_view("audit_log"), &Operation::table);
  ASSERT_NE(purge, operations.end());
  EXPECT_THAT(purge->statement.sql, HasSubstr(std::string("now() - ") + audit_retention_sql));
}

TEST(Catalogue, HasSixCategories) {
  std::set<std::string_view> categories;
  for (const Good& good : goods) categories.insert(good.category);
  EXPECT_EQ(categories.size(), 6U);
}

TEST(ParseMix, TakesThreePercentages) {
  EXPECT_EQ(parse_mix("50/40/10"), default_mix);
  EXPECT_EQ(parse_mix("0/0/100"), (Mix{0, 0, 100}));
}

TEST(ParseMix, RefusesEverythingElse) {
  for (const char* const text : {"", "50", "50/40", "50/40/11", "50/60/-10", "50/40/10/0", "50/40/10 ", "a/b/c"}) {
    try {
      parse_mix(text);
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::configuration);
      EXPECT_THAT(error.what(), HasSubstr(text));
    }
  }
}

TEST(Workload, MakesTheSameOfTheSameNumber) {
  const Workload first(7, 1, default_mix);
  const Workload again(7, 1, default_mix);
  const Workload other(7, 2, default_mix);
  bool differs = false;
  for (std::uint64_t number = 0; number < 100; ++number) {
    const auto work = first.make(number);
    EXPECT_EQ(work.operation, again.make(number).operation);
    EXPECT_EQ(work.params, again.make(number).params);
    EXPECT_EQ(work.params[0], "7");
    EXPECT_EQ(work.params[1], std::to_string(number));
    differs = differs || work.params != other.make(number).params;
  }
  EXPECT_TRUE(differs);
}

std::array<int, kind_count> counts_by_kind(const Mix& mix, int numbers) {
  const Workload workload(7, 1, mix);
  std::array<int, kind_count> counts{};
  for (int number = 0; number < numbers; ++number) {
    ++counts[index_of(operations[workload.make(static_cast<std::uint64_t>(number)).operation].kind)];
  }
  return counts;
}

TEST(Workload, KeepsTheMix) {
  const auto counts = counts_by_kind(default_mix, 20'000);
  EXPECT_NEAR(counts[0], 10'000, 300);  // 4 standard deviations
  EXPECT_NEAR(counts[1], 8'000, 300);
  EXPECT_NEAR(counts[2], 2'000, 200);
}

TEST(Workload, LeavesOutAKindOfZeroPercent) {
  EXPECT_EQ(counts_by_kind({0, 100, 0}, 500), (std::array{0, 500, 0}));
  EXPECT_EQ(counts_by_kind({0, 0, 100}, 500), (std::array{0, 0, 500}));
}

TEST(Workload, UsesEveryOperationByItsShare) {
  const Workload workload(7, 1, {100, 0, 0});
  std::array<int, std::tuple_size_v<decltype(operations)>> counts{};
  for (std::uint64_t number = 0; number < 10'000; ++number) ++counts[workload.make(number).operation];
  int shares = 0;
  for (const Operation& operation : operations) shares += operation.kind == Kind::insert ? operation.share : 0;
  for (std::size_t i = 0; i < operations.size(); ++i) {
    const int expected = operations[i].kind == Kind::insert ? 10'000 * operations[i].share / shares : 0;
    EXPECT_NEAR(counts[i], expected, expected == 0 ? 0 : 200) << operations[i].name;
  }
}

TEST(Random, StaysInItsBounds) {
  Random random(3, 4);
  std::set<int> seen;
  for (int i = 0; i < 1000; ++i) {
    const double unit = random.unit();
    EXPECT_GE(unit, 0);
    EXPECT_LT(unit, 1);
    seen.insert(random.between(-2, 2));
  }
  EXPECT_EQ(seen, (std::set{-2, -1, 0, 1, 2}));
}

}  // namespace
}  // namespace pgrm::loadgen
