// SIGINT, SIGTERM and SIGHUP as a stop token.
#pragma once

#include <atomic>
#include <csignal>
#include <functional>
#include <stop_token>
#include <thread>

namespace pgrm {

/// Blocks SIGINT, SIGTERM and SIGHUP in the calling thread and, by inheritance, in every thread started after it: make
/// one at the top of main(), before any thread. A thread waits for them; the first SIGINT or SIGTERM requests the
/// stop. SIGHUP calls `on_hangup`, or requests the stop too when there is none. One that the program was started with
/// ignored stays so (nohup; a job in the background of a script), but for SIGHUP with an `on_hangup`. SIGPIPE is
/// ignored.
class Signals {
 public:
  explicit Signals(std::function<void()> on_hangup = {});
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  std::stop_token token() const { return stop_.get_token(); }
  /// Requests the stop from inside the program, e.g. at the end of --duration.
  void request_stop() { stop_.request_stop(); }
  /// The signal that requested the stop, 0 when none did.
  int received() const { return received_; }

 private:
  sigset_t set_{};
  std::stop_source stop_;
  std::atomic<int> received_ = 0;
  std::jthread waiter_;
};

}  // namespace pgrm
