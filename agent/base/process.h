// Running somebody else's executable: hooks, and what stops, rewinds and starts servers.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/base/clock.h"

namespace pgrm::agent {

/// Runs `command` (path and arguments, no shell) with `extra` added to the environment and nothing to read, and returns
/// what it printed to standard output; every line of that and of standard error goes to the log. Throws Error(timeout)
/// after `budget` (the process group is killed), Error(query_failed) with the last line, of standard error if there is
/// one, for any exit status but 0, Error(file_failed) when it cannot be started. A command may leave a process behind
/// (a server): that has to redirect its output, or what it prints is lost.
std::string run_command(const std::vector<std::string>& command, const std::map<std::string, std::string>& extra,
                        Duration budget);

}  // namespace pgrm::agent
