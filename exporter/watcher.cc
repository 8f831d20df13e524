#include "exporter/watcher.h"

#include <fmt/format.h>

#include <utility>

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
  std::unique_lock lock(mutex_);
  if (stage_ != Stage::idle) return no_answer();
  stage_ = Stage::asked;
  asked_at_ = clock_.now();
  changed_.notify_all();
  if (!changed_.wait_for(lock, patience, [this] { return stage_ == Stage::seen; })) {
    stage_ = stage_ == Stage::asked ? Stage::idle : Stage::abandoned;
    return no_answer();
  }
  stage_ = Stage::idle;
  return std::move(seen_);
}

void Watcher::run(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (changed_.wait(lock, stop, [this] { return stage_ == Stage::asked; })) {
    stage_ = Stage::looking;
    lock.unlock();
    NodeSample seen = look_at(*node_, clock_, deadline_);
    if (!seen.state) node_->disconnect();
    lock.lock();
    seen_ = std::move(seen);
    stage_ = stage_ == Stage::abandoned ? Stage::idle : Stage::seen;
    changed_.notify_all();
  }
}

NodeSample Watcher::no_answer() const {
  const Duration waited = clock_.now() - asked_at_;
  return {.state = std::nullopt,
          .address = address_,
          .error = fmt::format("no answer for {}", human(waited)),
          .error_name = std::string(error_row(ErrorCode::timeout).name),
          .took = waited};
}

}  // namespace pgrm::exporter
