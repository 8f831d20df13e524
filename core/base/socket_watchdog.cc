#include "core/base/socket_watchdog.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <condition_variable>
#include <set>
#include <thread>
#include <utility>

namespace pgrm {

/// Looks at each watchdog when it asked to be looked at. Its lock comes before a watchdog's.
class SocketWatchdog::Keeper {
 public:
  static Keeper& of_the_program() {
    static Keeper keeper;
    return keeper;
  }

  void look_at(SocketWatchdog& dog, Mono when) {
    const std::lock_guard lock(mutex_);
    const auto place = visits_.emplace(when, &dog).first;
    if (!thread_.joinable()) {
      thread_ = std::jthread([this](const std::stop_token& stop) { keep(stop); });
    } else if (place == visits_.begin()) {
      changed_.notify_one();
    }
  }

  /// Afterwards nobody looks at it, and nobody is looking.
  void forget(SocketWatchdog& dog) {
    const std::lock_guard lock(mutex_);
    std::erase_if(visits_, [&dog](const auto& visit) { return visit.second == &dog; });
  }

 private:
  void keep(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    while (!stop.stop_requested()) {
      if (visits_.empty()) {
        changed_.wait(lock, stop, [this] { return !visits_.empty(); });
        continue;
      }
      const auto [when, dog] = *visits_.begin();
      const Mono now = std::chrono::steady_clock::now();
      if (when > now) {
        changed_.wait_until(lock, stop, when,
                            [&, when = when] { return visits_.empty() || visits_.begin()->first < when; });
        continue;
      }
      visits_.erase(visits_.begin());
      if (const auto next = dog->look(now)) visits_.emplace(*next, dog);
    }
  }

  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::set<std::pair<Mono, SocketWatchdog*>> visits_;
  std::jthread thread_;  // last: it uses all of the above
};

SocketWatchdog::~SocketWatchdog() {
  Keeper::of_the_program().forget(*this);
  forget();
}

bool SocketWatchdog::watch(int socket) {
  const int duplicate = fcntl(socket, F_DUPFD_CLOEXEC, 0);
  const std::lock_guard lock(mutex_);
  replace(duplicate);
  if (armed_ && bit_) shutdown(socket_, SHUT_RDWR);  // made after the deadline
  return duplicate >= 0;
}

void SocketWatchdog::forget() {
  const std::lock_guard lock(mutex_);
  replace(-1);
}

bool SocketWatchdog::bit() const {
  const std::lock_guard lock(mutex_);
  return bit_;
}

void SocketWatchdog::replace(int duplicate) {
  if (socket_ >= 0) close(socket_);
  socket_ = duplicate;
}

// Between two calls the keeper sleeps on: arming with a later deadline than it knows of costs no wake-up.
void SocketWatchdog::arm(Duration deadline) {
  Mono due;
  {
    const std::lock_guard lock(mutex_);
    armed_ = true;
    bit_ = false;
    due = due_ = std::chrono::steady_clock::now() + deadline;
    if (due >= wake_) return;
    wake_ = due;
  }
  Keeper::of_the_program().look_at(*this, due);
}

void SocketWatchdog::disarm() {
  const std::lock_guard lock(mutex_);
  armed_ = false;
}

std::optional<Mono> SocketWatchdog::look(Mono now) {
  const std::lock_guard lock(mutex_);
  const auto waits = [this] { return armed_ && !bit_; };
  if (waits() && now >= due_) {
    shutdown(socket_, SHUT_RDWR);  // of none: harmless
    bit_ = true;
  }
  wake_ = waits() ? due_ : Mono::max();
  return waits() ? std::optional(due_) : std::nullopt;
}

}  // namespace pgrm
