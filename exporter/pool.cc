#include "exporter/pool.h"

#include <system_error>
#include <utility>

namespace pgrm::exporter {

Pool::~Pool() {
  std::unique_lock lock(mutex_);
  quiet_.wait(lock, [this] { return jobs_.empty() && busy_ == 0; });
  ending_ = true;
  changed_.notify_all();
}

void Pool::post(std::function<void()> job) {
  const std::lock_guard lock(mutex_);
  jobs_.push_back(std::move(job));
  if (idle_ >= jobs_.size()) {
    changed_.notify_one();
    return;
  }
  try {
    threads_.emplace_back([this] { work(); });
  } catch (const std::system_error&) {
    if (!threads_.empty()) return;
    jobs_.pop_back();
    throw;
  }
}

std::size_t Pool::threads() const {
  const std::lock_guard lock(mutex_);
  return threads_.size();
}

void Pool::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    ++idle_;
    changed_.wait(lock, [this] { return ending_ || !jobs_.empty(); });
    --idle_;
    if (jobs_.empty()) return;
    ++busy_;
    {
      const std::function<void()> job = std::move(jobs_.front());
      jobs_.pop_front();
      lock.unlock();
      job();
    }  // what the job held is let go before anybody is told that it is done
    lock.lock();
    --busy_;
    if (busy_ == 0 && jobs_.empty()) quiet_.notify_all();
  }
}

}  // namespace pgrm::exporter
