#include "core/base/signals.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <future>

namespace pgrm {
namespace {

using testing::ExitedWithCode;

/// Ends the process with the signal that has ended it, when `ignored` is ignored, as under nohup, and comes before
/// SIGTERM.
[[noreturn]] void ends_by(int ignored) {
  std::signal(ignored, SIG_IGN);
  const Signals signals;
  kill(getpid(), ignored);
  std::promise<void> end;
  const std::stop_callback stopped(signals.token(), [&end] { end.set_value(); });
  kill(getpid(), SIGTERM);
  end.get_future().wait();
  std::_Exit(signals.received());
}

/// Ends the process with 0 when a SIGHUP that is ignored is told to the program.
[[noreturn]] void is_told() {
  std::signal(SIGHUP, SIG_IGN);
  std::promise<void> hangup;
  const Signals signals([&hangup] { hangup.set_value(); });
  kill(getpid(), SIGHUP);
  hangup.get_future().wait();
  std::_Exit(0);
}

/// Each in a process of its own: a signal goes to any thread that does not block it.
class SignalsDeathTest : public testing::Test {
 protected:
  void SetUp() override { testing::FLAGS_gtest_death_test_style = "threadsafe"; }
};

TEST_F(SignalsDeathTest, WhatTheCallerHasMadeTheProgramIgnoreDoesNotEndIt) {
  EXPECT_EXIT(ends_by(SIGHUP), ExitedWithCode(SIGTERM), "");
  EXPECT_EXIT(ends_by(SIGINT), ExitedWithCode(SIGTERM), "");
}

TEST_F(SignalsDeathTest, AHangupThatMeansSomethingIsToldAllTheSame) { EXPECT_EXIT(is_told(), ExitedWithCode(0), ""); }

}  // namespace
}  // namespace pgrm
