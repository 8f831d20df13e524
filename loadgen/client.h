// One client of the application: a connection that follows the writable server, and a thread's worth of operations.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <semaphore>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>

#include "core/base/clock.h"
#include "loadgen/pacer.h"
#include "loadgen/random.h"
#include "loadgen/stats.h"
#include "loadgen/workload.h"
#include "loadgen/writable_session.h"

namespace pgrm::loadgen {

/// What to do about an operation that went wrong.
enum class Next : std::uint8_t {
  retry_here,       // nothing was committed, and it may well work now
  retry_elsewhere,  // nothing was committed, and this server does not take writes: find the one that does
  give_up,          // nothing was committed, and it would not work again
  doubt,            // it may have been committed: never sent twice
};

/// `error` is what Session::execute threw.
Next judge(const Error& error);

/// Milliseconds that grow from attempt to attempt and differ from client to client. The first one is zero.
class Backoff {
 public:
  explicit Backoff(Random random) : random_(random) {}
  Duration next();
  void reset() { attempt_ = 0; }

 private:
  Random random_;
  int attempt_ = 0;
};

/// Logs what goes wrong; the same thing, from many clients many times a second, only now and then. Thread-safe.
class Complaints {
 public:
  explicit Complaints(const Clock& clock) : clock_(clock) {}
  /// `what` of a kind that has a word of its own, e.g. a SQLSTATE.
  void log(const std::string& kind, const std::string& what);

 private:
  struct Said {
    Mono silent_until{};
    std::uint64_t unsaid = 0;
  };

  const Clock& clock_;
  std::mutex mutex_;
  std::map<std::string, Said, std::less<>> said_;
};

/// Logging in costs milliseconds of CPU at both ends: when all clients do it at once, all are late. They go one or two
/// at a time instead, so that the first ones write again early; one that has waited 50 ms goes anyway. Thread-safe.
class Turnstile {
 public:
  template <typename Work>
  void pass(Work&& work) {
    const bool in_line = free_.try_acquire_for(std::chrono::milliseconds(50));
    const Release release{in_line ? &free_ : nullptr};
    std::forward<Work>(work)();
  }

 private:
  using Places = std::counting_semaphore<2>;
  struct Release {
    Places* places;
    ~Release() {
      if (places != nullptr) places->release();
    }
  };
  Places free_{2};
};

/// What all clients of a run share. Everything outlives the clients.
struct Shared {
  const Clock& clock;
  const Workload& workload;
  Pacer& pacer;
  Stats& stats;
  WriteGap& write_gap;
  Complaints& complaints;
  Turnstile& turnstile;
  std::function<void(Outcome)> finish;  // thread-safe; gets every operation's end
};

/// One thread at a time.
class Client {
 public:
  /// `id`: 0, 1, 2, …
  Client(Shared& shared, const Pair& pair, std::size_t id);

  /// Tries once to connect, so that the first operations do not pay for it; a failure is logged.
  void warm_up();
  /// Carries out operations until the pacer ends; then closes the connection. `stop` cuts waits between attempts short.
  void run(const std::stop_token& stop);

 private:
  void carry_out(const Pacer::Turn& turn, const std::stop_token& stop);
  bool connected();

  Shared& shared_;
  std::size_t id_;
  WritableSession session_;
  Mono answered_{};  // when the last operation was
  Backoff backoff_;
};

}  // namespace pgrm::loadgen
