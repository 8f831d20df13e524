// `agent status`: what both servers are right now, as the agent itself sees them.
#pragma once

#include <iosfwd>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/replication/json.h"
#include "core/replication/sample.h"

namespace pgrm::agent {

/// `exporter`: nullopt when it does not answer.
void print_status(std::ostream& out, const Sample& sample, const std::optional<ExporterState>& exporter);

}  // namespace pgrm::agent
