#include "agent/engine/guard.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <string_view>

#include "core/base/error.h"
#include "tests/fakes/fake_clock.h"

namespace pgrm::agent {
namespace {

class Watch : public testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(pipe(ends_.data()), 0); }
  void TearDown() override {
    close(ends_[0]);
    hang_up();
  }
  void say(std::string_view words) {
    ASSERT_EQ(write(ends_[1], words.data(), words.size()), static_cast<ssize_t>(words.size()));
  }
  void hang_up() {
    if (ends_[1] >= 0) close(ends_[1]);
    ends_[1] = -1;
  }
  AgentEnd watched() { return await_agent(ends_[0]); }

 private:
  std::array<int, 2> ends_{};
};

TEST_F(Watch, EndsWithTheGoodbye) {
  say("60000\ngoodbye\n");
  EXPECT_EQ(watched(), AgentEnd::dismissed);
}

TEST_F(Watch, AnAgentThatHangsUpWithoutAGoodbyeHasDied) {
  say("60000\n");
  hang_up();
  EXPECT_EQ(watched(), AgentEnd::died);
}

TEST_F(Watch, AnAgentThatDiedInTheMiddleOfItsGoodbyeHasDied) {
  say("60000\ngoodb");
  hang_up();
  EXPECT_EQ(watched(), AgentEnd::died);
}

TEST_F(Watch, AnAgentThatSaysNothingInItsTimeHasOverrunIt) {
  say("5\n");
  EXPECT_EQ(watched(), AgentEnd::overran);
}

TEST_F(Watch, ALaterWordReplacesTheTime) {
  say("5\nforever\n");
  hang_up();
  EXPECT_EQ(watched(), AgentEnd::died);
}

TEST(RecoverUntilSettled, TriesUntilNothingIsLeftToDecide) {
  const FakeClock clock;
  std::array codes{7, 6, 5};
  std::size_t attempts = 0;
  EXPECT_EQ(recover_until_settled([&] { return codes.at(attempts++); }, clock, std::chrono::minutes(10), {}), 5);
  EXPECT_EQ(attempts, 3U);
}

TEST(RecoverUntilSettled, GivesUpAfterItsPatience) {
  const FakeClock clock;
  const Mono start = clock.now();
  const auto attempt = []() -> int { throw Error(ErrorCode::unreachable, "nobody there"); };
  EXPECT_EQ(recover_until_settled(attempt, clock, std::chrono::minutes(10), {}), 7);
  EXPECT_EQ(clock.now() - start, std::chrono::minutes(10));
}

}  // namespace
}  // namespace pgrm::agent
