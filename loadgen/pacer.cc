#include "loadgen/pacer.h"

namespace pgrm::loadgen {

Pacer::Pacer(const Clock& clock, double ops_per_second)
    : clock_(clock), rate_(ops_per_second), origin_(clock.now()), paused_since_(origin_) {}

Mono Pacer::due(std::uint64_t number) const {
  return origin_ + from_seconds(static_cast<double>(number - base_) / rate_);
}

std::optional<Pacer::Turn> Pacer::next() {
  std::unique_lock lock(mutex_);
  for (;;) {
    place_.wait(lock, [this] { return ended_ || (!paused_since_ && !someone_waits_for_time_); });
    if (ended_) return std::nullopt;
    const Mono now = clock_.now();
    const Mono time = rate_ > 0 ? due(next_) : now;
    if (time <= now) {
      ++in_flight_;
      place_.notify_one();
      return Turn{next_++, time};
    }
    someone_waits_for_time_ = true;
    const std::stop_token changed = time_changed_.get_token();
    lock.unlock();
    clock_.sleep_until(time, changed);
    lock.lock();
    someone_waits_for_time_ = false;
  }
}

bool Pacer::again() {
  std::unique_lock lock(mutex_);
  leave();
  opened_.wait(lock, [this] { return ended_ || !paused_since_; });
  if (ended_) return false;
  ++in_flight_;
  return true;
}

void Pacer::done() {
  const std::lock_guard lock(mutex_);
  leave();
}

void Pacer::leave() {
  --in_flight_;
  if (in_flight_ == 0) drained_.notify_all();
}

bool Pacer::pause(Duration budget) {
  std::unique_lock lock(mutex_);
  if (!paused_since_) {
    paused_since_ = clock_.now();
    interrupt();
  }
  drained_.wait_for(lock, budget, [this] { return in_flight_ == 0 || !paused_since_; });
  return in_flight_ == 0 && paused_since_;
}

void Pacer::resume() {
  const std::lock_guard lock(mutex_);
  if (!paused_since_) return;
  origin_ += clock_.now() - *paused_since_;
  paused_since_.reset();
  interrupt();
}

void Pacer::set_rate(double ops_per_second) {
  const std::lock_guard lock(mutex_);
  rate_ = ops_per_second;
  origin_ = paused_since_.value_or(clock_.now());
  base_ = next_;
  interrupt();
}

void Pacer::end() {
  const std::lock_guard lock(mutex_);
  ended_ = true;
  interrupt();
}

void Pacer::interrupt() {
  time_changed_.request_stop();
  time_changed_ = std::stop_source();
  place_.notify_all();
  opened_.notify_all();
  drained_.notify_all();
}

bool Pacer::paused() const {
  const std::lock_guard lock(mutex_);
  return paused_since_.has_value();
}

int Pacer::in_flight() const {
  const std::lock_guard lock(mutex_);
  return in_flight_;
}

double Pacer::rate() const {
  const std::lock_guard lock(mutex_);
  return rate_;
}

}  // namespace pgrm::loadgen
