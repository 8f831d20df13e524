#include "core/base/socket_watchdog.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <optional>

#include "core/base/wait.h"

namespace pgrm {
namespace {

constexpr auto soon = std::chrono::seconds(10);
constexpr auto at_once = std::chrono::milliseconds(1);

/// Two ends of a connection.
class Wire {
 public:
  Wire() { EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends_.data()), 0); }
  ~Wire() {
    for (const int end : ends_) close(end);
  }
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;

  int near() const { return ends_[0]; }
  /// Waits for what the other end sends: nothing is sent. 0: it was shut.
  ssize_t wait() const {
    char byte = 0;
    return recv(near(), &byte, 1, 0);
  }
  bool works() const {
    char byte = 0;
    return send(ends_[1], "x", 1, MSG_NOSIGNAL) == 1 && recv(near(), &byte, 1, 0) == 1;
  }

 private:
  std::array<int, 2> ends_{};
};

bool bites(const SocketWatchdog& dog) {
  return wait_until(system_clock(), soon, at_once, {}, [&] { return dog.bit(); }) == WaitEnd::reached;
}

TEST(SocketWatchdog, WakesWhoWaitsBeyondTheDeadline) {
  const Wire wire;
  SocketWatchdog dog;
  ASSERT_TRUE(dog.watch(wire.near()));
  const SocketWatchdog::Guard guard(dog, at_once);
  EXPECT_EQ(wire.wait(), 0);
  EXPECT_TRUE(bites(dog));
}

TEST(SocketWatchdog, AnEarlierDeadlineAfterALaterOneHolds) {
  const Wire wire;
  SocketWatchdog dog;
  ASSERT_TRUE(dog.watch(wire.near()));
  { const SocketWatchdog::Guard guard(dog, std::chrono::hours(1)); }
  EXPECT_FALSE(dog.bit());
  const SocketWatchdog::Guard guard(dog, at_once);
  EXPECT_EQ(wire.wait(), 0);
}

TEST(SocketWatchdog, ADescriptorThatWasClosedAndGivenToAnotherIsLeftAlone) {
  SocketWatchdog dog;
  std::optional<Wire> wire(std::in_place);
  const int number = wire->near();
  ASSERT_TRUE(dog.watch(number));
  wire.reset();
  const Wire stranger;
  ASSERT_EQ(stranger.near(), number) << "the lowest number that is free is the next one";
  const SocketWatchdog::Guard guard(dog, at_once);
  ASSERT_TRUE(bites(dog));
  EXPECT_TRUE(stranger.works());
}

TEST(SocketWatchdog, OneThatComesAfterTheDeadlineIsShutToo) {
  const Wire wire;
  SocketWatchdog dog;
  const SocketWatchdog::Guard guard(dog, at_once);
  ASSERT_TRUE(bites(dog));
  ASSERT_TRUE(dog.watch(wire.near()));
  EXPECT_EQ(wire.wait(), 0);
}

TEST(SocketWatchdog, OneThatIsForgottenIsLeftAlone) {
  const Wire wire;
  SocketWatchdog dog;
  ASSERT_TRUE(dog.watch(wire.near()));
  dog.forget();
  const SocketWatchdog::Guard guard(dog, at_once);
  ASSERT_TRUE(bites(dog));
  EXPECT_TRUE(wire.works());
}

}  // namespace
}  // namespace pgrm
