// One server, looked at on a thread of its own: a server that hangs, or a name that does not resolve, holds up neither
// the other server nor the caller.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "core/base/clock.h"
#include "core/pg/node.h"
#include "core/replication/sample.h"

namespace pgrm::exporter {

/// How long one look at one server may take: libpq does not allow less for connecting.
inline constexpr Duration look_deadline = std::chrono::seconds(2);

class Watcher {
 public:
  /// `deadline`: for one look. `clock` must outlive the watcher.
  Watcher(std::unique_ptr<Node> node, const Clock& clock, Duration deadline);
  /// Waits for a look that is under way.
  ~Watcher();

  /// What a look that begins now sees. A timeout when it has not come back within `patience`, and at once when an
  /// earlier one has still not: what comes back late was seen too early to be compared with the other server, and is
  /// thrown away. After a failed look the connection is opened anew. One caller at a time.
  NodeSample look(Duration patience);

 private:
  enum class Stage { idle, asked, looking, seen, abandoned };

  void run(const std::stop_token& stop);
  NodeSample no_answer() const;

  std::unique_ptr<Node> node_;
  const Clock& clock_;
  const Duration deadline_;
  const std::string address_;

  std::mutex mutex_;
  std::condition_variable_any changed_;
  Stage stage_ = Stage::idle;
  Mono asked_at_{};
  NodeSample seen_;
  std::jthread thread_;  // last: it uses all of the above
};

}  // namespace pgrm::exporter
