// Traffic through PgBouncer: clients that wait instead of failing. PAUSE on every pooler or on none, and after the
// promotion a databases file that names the new primary, RELOAD, RESUME.
//
// PgBouncer never resumes by itself. When the agent dies, the guard or `agent recover` ends the cutover and resumes it,
// on the server that is proved to be the primary.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "agent/traffic/traffic.h"
#include "core/pg/pooler.h"

namespace pgrm::agent {

/// The text of a PgBouncer configuration, or of a file that it includes, with every database that is sent to `from`
/// (the same host and port, as written) sent to `to`. Everything else stays as it is, comments included.
std::string repoint(const std::string& ini, const Conninfo& from, const Conninfo& to);

/// The names of those databases.
std::set<std::string> repointed(const std::string& ini, const Conninfo& from);

/// Those of the poolers that answer and send a database to `server`, described.
std::vector<std::string> poolers_at(const Conninfo& server, const std::vector<Conninfo>& consoles, Duration deadline);

struct PgBouncers {
  std::vector<Conninfo> consoles;
  std::vector<std::string> files;  // with the databases; empty: a hook repoints them
  Conninfo old_primary, new_primary;
  bool hook_repoints = false;
  Duration call_deadline{};
};

std::unique_ptr<Traffic> make_pgbouncer_traffic(PgBouncers poolers);

}  // namespace pgrm::agent
