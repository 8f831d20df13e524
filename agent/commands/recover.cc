#include "agent/commands/recover_once.h"
#include "core/base/error.h"

namespace pgrm::agent {

int recover(const Settings& settings, const Arguments& arguments, std::stop_token stop, const LogTo& log_to) {
  try {
    return recover_once(settings, arguments, std::move(stop), log_to, "agent.log");
  } catch (const Error& error) {
    // An agent that could not look cannot tell, be it for another agent or for a damaged journal.
    if (error.code() == ErrorCode::configuration || error.code() == ErrorCode::usage) throw;
    throw Error(ErrorCode::undecided, error.what(), error.hint());
  }
}

}  // namespace pgrm::agent
