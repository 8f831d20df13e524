#include "core/pg/lsn.h"

#include <gtest/gtest.h>

#include "core/base/error.h"

namespace pgrm {
namespace {

TEST(Lsn, ParsesAndPrintsAsPostgres) {
  for (const char* text : {"0/0", "16/B374D848", "FFFFFFFF/FFFFFFFF", "0/3000148"}) {
    EXPECT_EQ(Lsn::parse(text).to_string(), text);
  }
  EXPECT_EQ(Lsn::parse("1/0").bytes(), 1ULL << 32);
}

TEST(Lsn, RefusesEverythingElse) {
  for (const char* text : {"", "/", "1", "1/", "/1", "x/1", "1/x", "1/1/1", " 1/1", "1/1 ", "100000000/0", "-1/0"}) {
    EXPECT_THROW(Lsn::parse(text), Error) << text;
  }
}

TEST(Lsn, DistanceIsSignedAndDoesNotWrap) {
  EXPECT_EQ(distance(Lsn(100), Lsn(30)), -70);
  EXPECT_EQ(distance(Lsn(30), Lsn(100)), 70);
  EXPECT_LT(Lsn::parse("0/FFFFFFFF"), Lsn::parse("1/0"));
}

}  // namespace
}  // namespace pgrm
