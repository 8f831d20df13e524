// Running somebody else's executable: hooks, and later whatever starts and stops servers.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/base/clock.h"

namespace pgrm::agent {

/// Runs `command` (path and arguments, no shell) with `extra` added to the environment, standard output and error going
/// to ours. Throws Error(timeout) after `budget` (the process group is killed), Error(query_failed) for any exit status
/// but 0, Error(file_failed) when it cannot be started.
void run_command(const std::vector<std::string>& command, const std::map<std::string, std::string>& extra,
                 Duration budget);

}  // namespace pgrm::agent
