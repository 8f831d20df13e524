// Checks of what works against a cutover or runs beside it: HA managers, background workers, commands of the promotion,
// files of the configuration, databases that nobody looked into.
#pragma once

#include "agent/checks/facts.h"
#include "agent/checks/verdict.h"

namespace pgrm::agent {

Verdict ha_manager(const Facts& facts);
Verdict background_workers(const Facts& facts);
Verdict promotion_commands(const Facts& facts);
Verdict configuration(const Facts& facts);
Verdict databases_seen(const Facts& facts);
Verdict login_triggers(const Facts& facts);

}  // namespace pgrm::agent
