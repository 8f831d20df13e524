// Host-level actions on one server, which SQL cannot do: stop it, turn its data directory into a standby's, start it.
// The agent runs commands that the operator provides; how they reach the host (ssh, systemd, an API) is theirs.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "core/base/clock.h"
#include "core/pg/conninfo.h"

namespace pgrm::agent {

/// Each is an executable of that name in the directory NODE_CONTROL. It must be idempotent, return when the work is
/// done, exit with 0 only then, and answer the argument --check by saying whether it could, without doing it.
enum class NodeVerb {
  stop,      // shut the server down; also right when it is down already
  diverged,  // print what the server has committed and the new primary does not have, a line each, and nothing else; a
             // file of a relation as TABLESPACE/DATABASE/FILE. Changes nothing
  rewind,    // make the stopped server's data directory a standby's of the new primary: pg_rewind or a new copy,
             // standby.signal, primary_conninfo, primary_slot_name
  start,     // start it; return when it accepts connections
};

std::string_view to_string(NodeVerb verb);

/// What every command is told: PGRM_NODE_HOST, PGRM_NODE_PORT (the server that it is about), PGRM_PRIMARY_HOST,
/// PGRM_PRIMARY_PORT (the server to follow), PGRM_SLOT (that server's slot for it), PGRM_VERB.
struct NodeOrder {
  Conninfo server, primary;
  std::string slot;
};

/// The seam; the fake is in tests/fakes/fake_node_control.h.
class NodeControl {
 public:
  virtual ~NodeControl() = default;
  /// Empty when `verb` is there and says that it could; otherwise why not. Changes nothing.
  virtual std::string problem(NodeVerb verb, Duration budget) = 0;
  /// What carry_out() runs: its environment and its path.
  virtual std::string command_line(NodeVerb verb) const = 0;
  /// Returns what the command printed. Throws Error when it fails or takes longer than `budget`.
  virtual std::string carry_out(NodeVerb verb, Duration budget) = 0;
};

/// `directory` empty: every verb has a problem, and throws Error(configuration).
std::unique_ptr<NodeControl> make_node_control(std::string directory, NodeOrder order);

}  // namespace pgrm::agent
