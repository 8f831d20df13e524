// The traces of HA managers: what else decides which server is the primary.
#pragma once

#include "agent/checks/facts.h"
#include "agent/checks/verdict.h"

namespace pgrm::agent {

Verdict ha_manager(const Facts& facts);

}  // namespace pgrm::agent
