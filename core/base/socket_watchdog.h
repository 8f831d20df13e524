// A deadline for libraries that have none: shuts the socket that they wait on.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

#include "core/base/clock.h"

namespace pgrm {

/// Shuts a socket when a deadline passes, which wakes whoever waits for it. Holds a duplicate of the descriptor: the
/// library may close its own at any time, and the number is then somebody else's. Thread-safe, except for the Guard.
class SocketWatchdog {
 public:
  SocketWatchdog() = default;
  ~SocketWatchdog() { forget(); }
  SocketWatchdog(const SocketWatchdog&) = delete;
  SocketWatchdog& operator=(const SocketWatchdog&) = delete;

  /// From now on it is about this one, also under a deadline that runs already. False when no descriptor is to be had:
  /// then it is about none.
  [[nodiscard]] bool watch(int socket);
  void forget();

  /// While it lives, the deadline holds. One at a time.
  class Guard {
   public:
    Guard(SocketWatchdog& dog, Duration deadline) : dog_(dog) { dog_.arm(deadline); }
    ~Guard() { dog_.disarm(); }
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

   private:
    SocketWatchdog& dog_;
  };

  /// Whether the last deadline passed under its Guard.
  bool bit() const;

 private:
  void arm(Duration deadline);
  void disarm();
  void watch_until(const std::stop_token& stop);
  void replace(int duplicate);

  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  int socket_ = -1;
  bool armed_ = false;
  bool bit_ = false;
  Mono due_{};
  Mono wake_ = Mono::max();
  std::jthread thread_;  // last: it uses everything above
};

}  // namespace pgrm
