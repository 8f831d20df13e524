// What becomes of the old primary when SQL alone cannot do it: it is shut down, or it becomes a standby of the new one.
// Right after a cutover (--demote stop or standby) or later (agent rejoin).
#pragma once

#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "agent/base/options.h"
#include "agent/base/servers.h"
#include "agent/demote/node_control.h"
#include "core/replication/sample.h"

namespace pgrm::agent {

/// The servers by their roles: `old_primary` is demoted, `new_primary` takes writes.
struct Rejoin {
  Server& old_primary;
  Server& new_primary;
  NodeControl& control;
  const Options& options;
  const Clock& clock;
  std::stop_token stop;                           // ends a wait; nothing is undone
  std::function<void(const std::string&)> waits;  // told what is waited for
  bool nothing_written = false;   // it is certain that the old primary has committed nothing that the new one lacks
  bool discard_diverged = false;  // a person has seen what it has committed, and gives it up
};

/// What the old primary has committed and the new one does not have: a sentence a line, with the names of relations;
/// empty when there is nothing. While the old primary runs, it is what is there so far. Throws what NodeControl throws,
/// and when it cannot be told.
std::vector<std::string> diverged(const Rejoin& rejoin);

/// Shuts the old primary down and proves that nobody answers there. Idempotent. Returns the evidence.
/// Throws Error: proof_failed when it still answers, and what NodeControl throws.
std::string stop_old_primary(const Rejoin& rejoin);

/// Makes the old primary a standby that streams from the new one through options.standby_slot, rids it of what the
/// fence has left, and drops the slots that nobody uses there any more. Idempotent: one that streams is left alone.
/// Returns the evidence. Between stop and rewind it looks what would be lost, and throws Error(unfinished), with the
/// server stopped and as it is, when that is anything or cannot be told. Throws Error: proof_failed when it came up as
/// a primary (it is stopped again), timeout when it does not stream in time, and what Node and NodeControl throw.
std::string make_standby(const Rejoin& rejoin);

/// Points every other standby to `primary`, before the old primary writes anything that the new one will never have: a
/// standby that has received that cannot follow. redirect_siblings() tells what went wrong.
void point_siblings(std::vector<std::unique_ptr<Node>>& siblings, Node& primary, const Conninfo& primary_at,
                    Duration deadline);

/// Points every other standby to `primary` and waits until it streams from there. Returns one sentence for each that
/// does not.
std::vector<std::string> redirect_siblings(std::vector<std::unique_ptr<Node>>& siblings, Node& primary,
                                           const Conninfo& primary_at, const Clock& clock, Duration deadline);

/// Which of the two is the new primary, by what is observed. Throws Error(preflight_refused) when that cannot be told
/// or when rejoining the other could lose writes: both take writes, both are standbys, or neither is seen.
Side find_new_primary(const Sample& sample);

}  // namespace pgrm::agent
