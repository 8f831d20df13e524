// The cutover's marker: a setting of the agent's role (ALTER ROLE … SET pgrm.cutover) that says which cutover is under
// way, and where its journal is. It stands in a shared catalog of the old primary, so the replica has it too, the
// promotion does not lose it, and an agent on any other host finds it. Without the right to set it (roles.sql) there is
// a warning and no marker.
#pragma once

#include <string>

#include "agent/engine/context.h"

namespace pgrm::agent {

/// "20260131T…-1a2b3c4d on host db-admin1, STATE_DIR /var/lib/replica-migration".
std::string marker_text(const std::string& cutover_id, const Options& options);

/// Whether that marker is of that cutover.
bool is_marker_of(const std::string& marker, const std::string& cutover_id);

/// The cutover that a server says is under way; empty: none. A demoted server keeps the marker that it was demoted
/// with.
std::string marker_on(const ServerSeen& server);

/// On the old primary, before the fence is armed. Without the right to it: a warning. Throws what Node throws.
void leave_marker(Cutover& cutover);

/// On the server that takes writes, once the cutover has come to its end. REQUIRES: cutover.situation. Never throws: a
/// warning.
void take_marker_away(Cutover& cutover);

}  // namespace pgrm::agent
