#include "core/base/signals.h"

#include <ctime>

namespace pgrm {

namespace {

bool is_ignored(int signal) {
  struct sigaction present {};
  return sigaction(signal, nullptr, &present) == 0 && present.sa_handler == SIG_IGN;
}

}  // namespace

Signals::Signals(std::function<void()> on_hangup) {
  sigemptyset(&set_);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    if (!is_ignored(signal) || (signal == SIGHUP && on_hangup)) sigaddset(&set_, signal);
  }
  pthread_sigmask(SIG_BLOCK, &set_, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  waiter_ = std::jthread([this, on_hangup = std::move(on_hangup)](const std::stop_token& ending) {
    while (!ending.stop_requested()) {
      // A bounded wait, so that the destructor is not held up by a signal that never comes.
      const timespec slice{0, 50'000'000};
      const int signal = sigtimedwait(&set_, nullptr, &slice);
      if (signal < 0) continue;
      if (signal == SIGHUP && on_hangup) {
        on_hangup();
      } else {
        int none = 0;
        received_.compare_exchange_strong(none, signal);
        stop_.request_stop();
      }
    }
  });
}

Signals::~Signals() {
  waiter_.request_stop();
  waiter_.join();
}

}  // namespace pgrm
