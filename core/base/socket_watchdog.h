// A deadline for libraries that have none: shuts the socket that they wait on.
#pragma once

#include <mutex>
#include <optional>

#include "core/base/clock.h"

namespace pgrm {

/// Shuts a socket when a deadline passes, which wakes the thread that waits on it. Holds a duplicate of the descriptor:
/// the library may close its own at any time, and the number is then somebody else's. One thread of the program, begun
/// when it is first needed, keeps the deadlines of all. Thread-safe, except for the Guard.
class SocketWatchdog {
 public:
  SocketWatchdog() = default;
  ~SocketWatchdog();
  SocketWatchdog(const SocketWatchdog&) = delete;
  SocketWatchdog& operator=(const SocketWatchdog&) = delete;

  /// From now on it is about this one, also under a deadline that runs already. False without a descriptor to spare:
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
  class Keeper;

  void arm(Duration deadline);
  void disarm();
  /// Shuts the socket when it is time. When to look again; nullopt: not until arm() says so.
  std::optional<Mono> look(Mono now);
  void replace(int duplicate);

  mutable std::mutex mutex_;
  int socket_ = -1;
  bool armed_ = false;
  bool bit_ = false;
  Mono due_{};
  Mono wake_ = Mono::max();  // when the keeper looks
};

}  // namespace pgrm
