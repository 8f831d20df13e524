#include "loadgen/control.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "core/base/error.h"
#include "core/base/json_text.h"

namespace pgrm::loadgen {
namespace {

using nlohmann::json;

http::Response answer(const json& body, int status = 200) { return {status, json_text(body) + "\n"}; }

/// Takes the same time wherever the first difference is.
bool same(const std::string& given, const std::string& expected) {
  unsigned difference = given.size() == expected.size() ? 0 : 1;
  for (std::size_t i = 0; i < given.size(); ++i) {
    difference |= static_cast<unsigned char>(given[i]) ^ static_cast<unsigned char>(expected[i % expected.size()]);
  }
  return difference == 0;
}

std::optional<http::Response> refusal(const http::Request& request, const Authority& authority) {
  const Secret& token = authority.token;
  if (authority.passwords) return std::nullopt;
  if (token.empty()) {
    if (request.from_loopback) return std::nullopt;
    return http::error_response(403, "without LOADGEN_CONTROL_TOKEN, orders are taken from this machine only");
  }
  if (request.authorization && same(*request.authorization, "Bearer " + token.reveal())) return std::nullopt;
  return http::error_response(401, "needs the header \"Authorization: Bearer $LOADGEN_CONTROL_TOKEN\"");
}

http::Response pause(const Controls& controls, const http::Request&) {
  spdlog::info("pause: no operation is begun any more");
  if (!controls.pause()) {
    return http::error_response(503, "paused, but operations are still in flight: ask again, or resume");
  }
  spdlog::info("paused: nothing is in flight");
  return answer(controls.state());
}

http::Response resume(const Controls& controls, const http::Request&) {
  controls.resume();
  spdlog::info("resumed");
  return answer(controls.state());
}

http::Response set_rate(const Controls& controls, const http::Request& request) {
  const json body = json::parse(request.body, nullptr, false);
  if (!body.is_object() || !body.contains("ops_per_second") || !body["ops_per_second"].is_number()) {
    return http::error_response(400, R"(expected {"ops_per_second": number})");
  }
  const auto rate = body["ops_per_second"].get<double>();
  if (rate != 0 && !(rate >= min_ops_per_second && rate <= max_ops_per_second)) {
    return http::error_response(400, fmt::format("ops_per_second is {}, allowed is 0, and {} to {}", rate,
                                                 min_ops_per_second, max_ops_per_second));
  }
  controls.set_rate(rate);
  spdlog::info("rate: {} operations per second", rate);
  return answer(controls.state());
}

struct Order {
  const char* path;
  http::Response (*carry_out)(const Controls&, const http::Request&);
};
constexpr std::array orders{
    Order{"/api/v1/pause", pause},
    Order{"/api/v1/resume", resume},
    Order{"/api/v1/rate", set_rate},
};

}  // namespace

void add_controls(http::Server& server, Controls controls, const Authority& authority) {
  if (authority.passwords && !authority.token.empty()) {
    throw Error(ErrorCode::configuration,
                "LOADGEN_CONTROL_TOKEN and basic_auth_users of LOADGEN_WEB_CONFIG exclude each other",
                "both are shown in the header Authorization: unset one of them");
  }
  const auto shared = std::make_shared<const Controls>(std::move(controls));
  server.get("/metrics", [shared](const http::Request&) { return shared->metrics(); });
  server.get("/healthz", [](const http::Request&) { return answer({{"status", "ok"}}); });
  server.get("/api/v1/state", [shared](const http::Request&) { return answer(shared->state()); });
  for (const Order& order : orders) {
    server.post(order.path, [shared, authority, carry_out = order.carry_out](const http::Request& request) {
      const auto refused = refusal(request, authority);
      return refused ? *refused : carry_out(*shared, request);
    });
  }
}

}  // namespace pgrm::loadgen
