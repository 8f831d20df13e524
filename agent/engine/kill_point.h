// For the kill matrix of tests/e2e: PGRM_KILL_AT="before begin fence" (or "after begin fence", "before end", …) makes
// the agent end itself with SIGKILL right before or after the journal record of that name is written. Set it for
// nothing else.
#pragma once

#include <memory>

#include "agent/engine/journal.h"

namespace pgrm::agent {

/// `file` itself when the variable is not set. Throws Error(configuration) for a value that names no record.
std::unique_ptr<JournalFile> with_kill_point(std::unique_ptr<JournalFile> file);

}  // namespace pgrm::agent
