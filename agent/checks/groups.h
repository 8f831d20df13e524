// The groups of the preflight's table, a file each.
#pragma once

#include <span>

#include "agent/checks/checks.h"

namespace pgrm::agent {

/// Which servers these are, and that nobody else acts on them.
std::span<const Check> identity_checks();
/// Whether the standby keeps up.
std::span<const Check> replication_checks();
/// Whether the future primary can do what the old one does.
std::span<const Check> fitness_checks();
/// What the application or somebody else would lose.
std::span<const Check> loss_checks();
/// What the agent may do, and what it is given to do it with.
std::span<const Check> rights_checks();

}  // namespace pgrm::agent
