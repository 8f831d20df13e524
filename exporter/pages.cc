#include "exporter/pages.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "core/base/error.h"
#include "core/replication/json.h"
#include "exporter/gauges.h"

namespace pgrm::exporter {
namespace {

http::Response status_page(const View&) { return {200, status_html, "text/html; charset=utf-8"}; }

http::Response state(const View& view) {
  if (!view.observed()) return http::error_response(503, "nothing has been observed yet");
  return {200, state_to_json(view.sample(), view.streak(), view.now()), "application/json"};
}

http::Response healthz(const View&) { return {200, "{\"status\": \"alive\"}\n", "application/json"}; }

http::Response readyz(const View& view) {
  if (!view.observed()) return http::error_response(503, "nothing has been observed yet");
  if (!view.fresh()) {
    return http::error_response(
        503, fmt::format("the last observation is {} old, allowed is {}",
                         human(view.now() - view.sample().sampled_mono), human(view.streak().policy().max_gap())));
  }
  return {200, "{\"status\": \"ready\"}\n", "application/json"};
}

/// 200 only while this server, and no other, is seen to take writes: for load balancers.
template <Side side>
http::Response writable(const View& view) {
  const bool yes = view.fresh() && writable_side(view.sample()) == side;
  return {yes ? 200 : 503, fmt::format("{{\"node\": \"{}\", \"writable\": {}}}\n", to_string(side), yes),
          "application/json"};
}

struct PageRow {
  std::string_view path;
  http::Response (*answer)(const View&);
};

constexpr std::array pages{
    PageRow{"/", status_page},
    PageRow{"/metrics", metrics_response},
    PageRow{"/api/v1/state", state},
    PageRow{"/healthz", healthz},
    PageRow{"/readyz", readyz},
    PageRow{"/nodes/primary/writable", writable<Side::primary>},
    PageRow{"/nodes/replica/writable", writable<Side::replica>},
};

}  // namespace

http::Response answer(std::string_view path, const View& view) {
  const auto* const page = std::ranges::find(pages, path, &PageRow::path);
  if (page == pages.end()) throw Error(ErrorCode::internal, fmt::format("no page {}", path));
  return page->answer(view);
}

void add_pages(http::Server& server, std::function<View()> view) {
  for (const PageRow& page : pages) {
    server.get(std::string(page.path), [view, &page](const http::Request&) { return page.answer(view()); });
  }
}

}  // namespace pgrm::exporter
