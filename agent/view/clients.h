// The application's sessions on a server, for people: who they are, and what a cutover does to them.
#pragma once

#include <iosfwd>
#include <nlohmann/json.hpp>
#include <vector>

#include "core/base/clock.h"
#include "core/pg/node.h"

namespace pgrm::agent {

/// One object a session.
nlohmann::json writers_to_json(const std::vector<Writer>& writers);

/// One line for all sessions of an application and a role from one address, and below it what they will feel. `now`:
/// for how long they have been there.
void print_clients(std::ostream& out, const std::vector<Writer>& writers, WallTime now);

}  // namespace pgrm::agent
