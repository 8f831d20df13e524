#include "exporter/fleet_pages.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "core/http/message.h"
#include "exporter/fleet_json.h"
#include "exporter/gauges.h"
#include "exporter/pages.h"

namespace pgrm::exporter {
namespace {

using http::Request;
using http::Response;

/// The pair that the parameter names, and its page.
Response of_one(const Request& request, const FleetViews& views, const char* parameter,
                Response (*page)(const Request&, const NamedView&)) {
  const auto name = http::parameter(request.query, parameter);
  if (!name) {
    return http::error_response(
        400, fmt::format("name a pair: {}?{}=NAME; /api/v1/pairs lists them", request.path, parameter));
  }
  const auto pair = views.one(*name);
  if (!pair) return http::error_response(404, "no such pair; /api/v1/pairs lists them");
  return page(request, *pair);
}

Response as_when_alone(const Request& request, const NamedView& pair) { return answer(request.path, pair.view); }

Response of_pair(const Request& request, const FleetViews& views) {
  return of_one(request, views, "pair", as_when_alone);
}

Response probe(const Request& request, const FleetViews& views) {
  return of_one(request, views, "target",
                [](const Request&, const NamedView& pair) { return metrics_response({pair}); });
}

Response front_page(const Request& request, const FleetViews& views) {
  if (!http::parameter(request.query, "pair")) return {200, fleet_html, "text/html; charset=utf-8"};
  return of_pair(request, views);
}

Response metrics(const Request&, const FleetViews& views) { return metrics_response(views.all()); }

Response pairs(const Request&, const FleetViews& views) {
  return {200, pairs_to_json(views.all()), "application/json"};
}

Response targets(const Request& request, const FleetViews& views) {
  return {200, targets_to_json(views.all(), request.host), "application/json"};
}

Response healthz(const Request&, const FleetViews&) { return {200, "{\"status\": \"alive\"}\n", "application/json"}; }

Response readyz(const Request&, const FleetViews& views) {
  std::size_t late = 0;
  const std::vector<NamedView> all = views.all();
  for (const NamedView& pair : all) late += pair.view.fresh() ? 0 : 1;
  if (late == 0) return {200, "{\"status\": \"ready\"}\n", "application/json"};
  return http::error_response(503, fmt::format("{} of {} pairs have no fresh observation", late, all.size()));
}

struct PageRow {
  std::string_view path;
  Response (*answer)(const Request&, const FleetViews&);
};

constexpr std::array pages{
    PageRow{"/", front_page},
    PageRow{"/metrics", metrics},
    PageRow{"/probe", probe},
    PageRow{"/api/v1/pairs", pairs},
    PageRow{"/api/v1/sd", targets},
    PageRow{"/api/v1/state", of_pair},
    PageRow{"/healthz", healthz},
    PageRow{"/readyz", readyz},
    PageRow{"/nodes/primary/writable", of_pair},
    PageRow{"/nodes/replica/writable", of_pair},
};

}  // namespace

std::optional<Response> fleet_answer(const Request& request, const FleetViews& views) {
  const auto* const page = std::ranges::find(pages, request.path, &PageRow::path);
  if (page == pages.end()) return std::nullopt;
  return page->answer(request, views);
}

void add_fleet_pages(http::Server& server, const FleetViews& views) {
  for (const PageRow& page : pages) {
    server.get(std::string(page.path), [views, &page](const Request& request) { return page.answer(request, views); });
  }
}

}  // namespace pgrm::exporter
