// Both servers and the exporter, looked at again and again by a thread of its own: for people who watch, and for the
// report's lag curve. No step waits for it.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "agent/base/options.h"
#include "agent/engine/progress.h"
#include "core/http/client.h"
#include "core/pg/node.h"
#include "core/replication/json.h"
#include "core/replication/sample.h"

namespace pgrm::agent {

struct PairSnapshot {
  Sample sample;
  std::optional<ExporterState> exporter;  // nullopt: it does not answer
};

/// One look, over connections of the caller's; what is unreachable stands in the result. `path`: where the exporter
/// answers for the pair.
PairSnapshot look_at_pair(Node& primary, Node& replica, http::Client& exporter, const std::string& path,
                          const Clock& clock, Duration deadline);

class PairWatch {
 public:
  /// Looks at once and then every `interval`, over connections of its own (application_name "pgrm-agent/token"), and
  /// adds every lag that it sees to `lag`. While `held` says so it looks at nothing: where writes are stopped, not even
  /// a millisecond is taken from them. `clock` and `lag` must outlive it.
  PairWatch(const Options& options, const std::string& token, Duration interval, std::function<bool()> held,
            LagHistory& lag, const Clock& clock);
  /// Waits for a look that is under way.
  ~PairWatch() = default;
  PairWatch(const PairWatch&) = delete;
  PairWatch& operator=(const PairWatch&) = delete;

  /// Thread-safe; nullptr before the first snapshot.
  std::shared_ptr<const PairSnapshot> latest() const;

 private:
  void run(const std::stop_token& stop);

  const Duration interval_, deadline_;
  const std::function<bool()> held_;
  LagHistory& lag_;
  const Clock& clock_;
  std::unique_ptr<Node> primary_, replica_;
  std::unique_ptr<http::Client> exporter_;
  const std::string exporter_state_;
  mutable std::mutex mutex_;
  std::shared_ptr<const PairSnapshot> latest_;
  std::jthread thread_;  // last: it uses all of the above
};

}  // namespace pgrm::agent
