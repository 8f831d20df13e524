#include "exporter/watcher.h"

#include <fmt/format.h>

#include "core/base/error.h"

namespace pgrm::exporter {

Watcher::Watcher(std::unique_ptr<Node> node, const Clock& clock, Duration deadline)
    : node_(std::move(node)),
      clock_(clock),
      deadline_(deadline),
      address_(address_of(node_->describe())),
      thread_([this](const std::stop_token& stop) { run(stop); }) {}

Watcher::~Watcher() = default;

NodeSample Watcher::look(Duration patience) {
  const auto observe = [deadline = deadline_](Node& node) { return node.observe(deadline); };
  return take_look(address_, clock_, [&] { return ask<ServerState>(observe, patience); });
}

void Watcher::run_on_thread(std::function<void(Node&)> job, Duration patience) {
  std::unique_lock lock(mutex_);
  if (job_) no_answer();
  job_ = std::move(job);
  asked_at_ = clock_.now();
  changed_.notify_all();
  if (changed_.wait_for(lock, patience, [this] { return !job_; })) return;
  if (!running_) job_ = nullptr;
  no_answer();
}

void Watcher::run(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (changed_.wait(lock, stop, [this] { return job_ != nullptr; })) {
    running_ = true;
    lock.unlock();
    job_(*node_);  // nobody else touches it while it runs
    lock.lock();
    running_ = false;
    job_ = nullptr;
    changed_.notify_all();
  }
}

void Watcher::no_answer() const {
  throw Error(ErrorCode::timeout, fmt::format("no answer for {}", human(clock_.now() - asked_at_)));
}

}  // namespace pgrm::exporter
