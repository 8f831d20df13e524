// Threads for work that may hang.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace pgrm::exporter {

/// A job never waits for another one to end: there are as many threads as there were jobs at once, and no more. So the
/// callers set the bound: a pair has one round under way at most, and each of its servers one question.
/// Thread-safe.
class Pool {
 public:
  Pool() = default;
  /// Waits until every job is done, those too that jobs give meanwhile.
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  /// `job` must not throw. Throws std::system_error when the machine has no thread to spare and none is there; with
  /// some, the job waits for one of them.
  void post(std::function<void()> job);

  std::size_t threads() const;

 private:
  void work();

  mutable std::mutex mutex_;
  std::condition_variable changed_, quiet_;
  std::deque<std::function<void()>> jobs_;  // that nobody has begun
  std::size_t idle_ = 0, busy_ = 0;
  bool ending_ = false;
  std::vector<std::jthread> threads_;  // last: they use all of the above
};

}  // namespace pgrm::exporter
