// What the exporter answers over HTTP when it watches many pairs.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/http/server.h"
#include "exporter/observation.h"

namespace pgrm::exporter {

/// Where pages get their pairs from; called for each request, from several threads.
struct FleetViews {
  std::function<std::vector<NamedView>()> all;
  std::function<std::optional<NamedView>(std::string_view name)> one;
};

/// The answer to GET. Pages of one pair are those of pages.h, with ?pair=NAME (/probe: ?target=NAME). A name is looked
/// up among the pairs that are watched, and leads nowhere else. nullopt: no such page.
std::optional<http::Response> fleet_answer(const http::Request& request, const FleetViews& views);

void add_fleet_pages(http::Server& server, const FleetViews& views);

/// The page with all pairs, self-contained; made from fleet.html.
extern const char* const fleet_html;

}  // namespace pgrm::exporter
