// One recovery of the newest cutover of a pair, for `agent recover` and for both kinds of guard.
#pragma once

#include "agent/commands/commands.h"

namespace pgrm::agent {

/// Looks for the newest journal of this pair in STATE_DIR and at both servers, and does what the table of recovery
/// says; with arguments.dry_run it only says so. The log goes to `log` beside the journal. Returns the exit code of the
/// contract. Throws Error when it could not look: another agent holds STATE_DIR, a journal is damaged.
int recover_once(const Settings& settings, const Arguments& arguments, std::stop_token stop, const LogTo& log_to,
                 const std::string& log);

/// Whether STATE_DIR has a journal of this pair that has not come to its end. Reads files only. Throws Error.
bool has_unsettled(const Settings& settings);

}  // namespace pgrm::agent
