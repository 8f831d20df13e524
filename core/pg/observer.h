// One look at one server: what an observation asks, and how the versions of PostgreSQL differ in it.
#pragma once

#include <string>
#include <vector>

#include "core/base/clock.h"
#include "core/pg/node.h"
#include "core/pg/session.h"

namespace pgrm {

class Observer {
 public:
  /// watching: asks everything, and what the server refuses (a right that is missing, a lock on a catalog) costs only
  /// what that statement would have told. acting: asks what a cutover is decided by, and a refusal is an error, so that
  /// nothing is taken for absent because it could not be seen.
  enum class For { watching, acting };

  explicit Observer(For purpose) : purpose_(purpose) {}

  /// Throws like Session::execute(). REQUIRES: `session` is open.
  ServerState look(Session& session, Duration deadline);

 private:
  void write_statements(int version);
  void remember_upkeep(ServerState& state, bool asked, Mono at);

  For purpose_;
  int version_ = 0;                      // that statements_ are for
  std::vector<std::string> statements_;  // SQL of the collectors, in their order
  Upkeep upkeep_;                        // as it was last told
  Collector upkeep_collector_;
  Mono upkeep_due_{};
};

}  // namespace pgrm
