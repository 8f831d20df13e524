// The real Node: SQL and row mapping side by side in server_node.cc.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "core/pg/conninfo.h"
#include "core/pg/node.h"
#include "core/pg/statement.h"

namespace pgrm {

struct NodeOptions {
  /// Marks the process' own sessions: client_sessions() leaves out every session of this name.
  std::string application_name;
  /// For observers: the session cannot write, and the server itself ends a statement after this time, so that a lock on
  /// a catalog cannot leave a backend behind. A connection found closed by observe() is opened anew once.
  std::optional<Duration> observer_timeout;
  OnStatement told = {};  // of every statement; may be empty
};

/// Does not connect yet.
std::unique_ptr<Node> make_server_node(const Conninfo& server, const NodeOptions& options);

}  // namespace pgrm
