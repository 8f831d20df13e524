// What a cutover acts with, for a plan: it is told the orders, and carries out none.
#pragma once

#include <functional>
#include <memory>

#include "agent/base/servers.h"
#include "agent/demote/node_control.h"
#include "agent/plan/plan.h"
#include "agent/traffic/traffic.h"
#include "core/pg/imagined.h"

namespace pgrm::agent {

using TakeOrder = std::function<void(PlannedOrder)>;

/// Every node of `servers` gives its orders to `pair`, which outlives them.
void imagine(Servers& servers, ImaginedPair& pair);

Traffics imagine(Traffics traffic, TakeOrder take);

/// `real` and `pair` outlive it.
std::unique_ptr<NodeControl> imagine(NodeControl& real, const Options& options, ImaginedPair& pair, TakeOrder take);

}  // namespace pgrm::agent
