#include "exporter/watcher.h"

#include <fmt/format.h>

#include "core/base/error.h"

namespace pgrm::exporter {

Watcher::Watcher(std::unique_ptr<Node> node, const Clock& clock, Duration deadline, Pool& pool)
    : clock_(clock),
      deadline_(deadline),
      server_(std::make_shared<Server>(std::move(node))),
      address_(server_->node->address()),
      pool_(pool) {}

ServerSample Watcher::look(Duration patience) {
  const auto observe = [deadline = deadline_](Node& node) { return node.observe(deadline); };
  return take_look(address_, clock_, [&] { return ask<ServerState>(observe, patience); });
}

void Watcher::run_on_thread(std::function<void(Node&)> job, Duration patience) {
  std::unique_lock lock(server_->mutex);
  if (server_->job) no_answer();
  pool_.post([server = server_] { server->run_job(); });
  server_->job = std::move(job);
  asked_at_ = clock_.now();
  if (server_->changed.wait_for(lock, patience, [this] { return !server_->job; })) return;
  if (!server_->running) server_->job = nullptr;
  no_answer();
}

void Watcher::Server::run_job() {
  std::unique_lock lock(mutex);
  if (!job || running) return;  // given up before it began
  running = true;
  lock.unlock();
  job(*node);  // nobody else touches either while it runs
  lock.lock();
  running = false;
  job = nullptr;
  changed.notify_all();
}

void Watcher::no_answer() const {
  throw Error(ErrorCode::timeout, fmt::format("no answer for {}", human(clock_.now() - asked_at_)));
}

}  // namespace pgrm::exporter
