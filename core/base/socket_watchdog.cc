#include "core/base/socket_watchdog.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace pgrm {

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

// Between two calls the thread sleeps on: arming it again with a later deadline costs no wake-up.
void SocketWatchdog::arm(Duration deadline) {
  const std::lock_guard lock(mutex_);
  armed_ = true;
  bit_ = false;
  due_ = std::chrono::steady_clock::now() + deadline;
  if (!thread_.joinable()) {
    thread_ = std::jthread([this](const std::stop_token& stop) { watch_until(stop); });
  } else if (due_ < wake_) {
    changed_.notify_one();
  }
}

void SocketWatchdog::disarm() {
  const std::lock_guard lock(mutex_);
  armed_ = false;
}

void SocketWatchdog::watch_until(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  const auto waits = [this] { return armed_ && !bit_; };
  while (!stop.stop_requested()) {
    if (waits() && std::chrono::steady_clock::now() >= due_) {
      shutdown(socket_, SHUT_RDWR);  // of none: harmless
      bit_ = true;
    }
    wake_ = waits() ? due_ : Mono::max();
    const auto changed = [&] { return waits() && due_ < wake_; };
    if (wake_ == Mono::max()) {
      changed_.wait(lock, stop, changed);
    } else {
      changed_.wait_until(lock, stop, wake_, changed);
    }
  }
}

}  // namespace pgrm
