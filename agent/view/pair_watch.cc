#include "agent/view/pair_watch.h"

#include <utility>

#include "agent/base/servers.h"
#include "core/base/error.h"
#include "core/replication/lag.h"

namespace pgrm::agent {

PairSnapshot look_at_pair(Node& primary, Node& replica, http::Client& exporter, const std::string& path,
                          const Clock& clock, Duration deadline) {
  PairSnapshot snapshot{observe_pair(primary, replica, 1, clock, deadline), std::nullopt};
  try {
    snapshot.exporter = state_from_json(http::get_ok(exporter, path, deadline));
  } catch (const Error&) {
    snapshot.exporter.reset();
  }
  return snapshot;
}

PairWatch::PairWatch(const Options& options, const std::string& token, Duration interval, std::function<bool()> held,
                     LagHistory& lag, const Clock& clock)
    : interval_(interval),
      deadline_(options.call_deadline),
      held_(std::move(held)),
      lag_(lag),
      clock_(clock),
      exporter_(http::make_client(options.exporter_url, options.exporter_access)),
      exporter_state_(options.exporter_state) {
  Servers servers = make_servers(options.pair, token);
  primary_ = std::move(servers.old_primary.admin);
  replica_ = std::move(servers.new_primary.admin);
  if (options.switch_back) std::swap(primary_, replica_);  // by their configured names, as everywhere else
  thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
}

std::shared_ptr<const PairSnapshot> PairWatch::latest() const {
  const std::scoped_lock lock(mutex_);
  return latest_;
}

void PairWatch::run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    if (!held_()) {
      auto snapshot = std::make_shared<const PairSnapshot>(
          look_at_pair(*primary_, *replica_, *exporter_, exporter_state_, clock_, deadline_));
      if (const auto behind = pair_lag(snapshot->sample).replay_bytes) lag_.add(clock_.now(), *behind);
      const std::scoped_lock lock(mutex_);
      latest_ = std::move(snapshot);
    }
    clock_.sleep_for(interval_, stop);
  }
}

}  // namespace pgrm::agent
