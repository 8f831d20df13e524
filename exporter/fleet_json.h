// Many pairs as JSON.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "exporter/observation.h"

namespace pgrm::exporter {

/// What a pair is, worst first: split, unseen, not_ready, in_sync, moved, ready (docs/fleet.md).
std::string_view verdict(const View& view);

/// The body of GET /api/v1/pairs: an array, worst first and then by name.
std::string pairs_to_json(const std::vector<NamedView>& pairs);

/// The body of GET /api/v1/sd, for Prometheus' http_sd_configs: a target for each pair, which is /probe of the exporter
/// that clients call `host`, its label `exporter`.
std::string targets_to_json(const std::vector<NamedView>& pairs, const std::string& host);

}  // namespace pgrm::exporter
