#include "exporter/fleet_json.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <tuple>

#include "core/base/json_text.h"

namespace pgrm::exporter {
namespace {

using Json = nlohmann::json;

bool takes_writes_now(const View& view, Side side) {
  const ServerState* const server = view.server(side);
  return server != nullptr && takes_writes(*server);
}

/// The pair is cut over, and its old primary is what the cutover has made of it, unless somebody has stopped it.
bool moved(const View& view) {
  return takes_writes_now(view, Side::replica) && view.server(Side::primary) != nullptr &&
         !takes_writes_now(view, Side::primary);
}

bool out_of_recovery(const View& view, Side side) {
  const ServerState* const server = view.server(side);
  return server != nullptr && !server->in_recovery;
}

/// The first row that holds is what the pair is. Their order is also how bad it is.
struct VerdictRow {
  std::string_view name;
  bool (*holds)(const View&);
};

constexpr std::array verdicts{
    VerdictRow{"split",
               [](const View& v) {
                 return takes_writes_now(v, Side::primary) && takes_writes_now(v, Side::replica) &&
                        !one_server(v.sample());
               }},
    VerdictRow{"unseen", [](const View& v) { return !v.fresh(); }},
    VerdictRow{"not_ready",
               // An old primary that has become a standby must be in sync; one that was kept out of recovery cannot be.
               [](const View& v) { return !v.streak().in_sync() && !(moved(v) && out_of_recovery(v, Side::primary)); }},
    VerdictRow{"in_sync",
               [](const View& v) { return !moved(v) && v.streak().consecutive() < v.streak().policy().required; }},
    VerdictRow{"moved", moved},
    VerdictRow{"ready", [](const View&) { return true; }},
};

std::size_t rank(const View& view) {
  return static_cast<std::size_t>(
      std::ranges::find_if(verdicts, [&](const VerdictRow& row) { return row.holds(view); }) - verdicts.begin());
}

Json server_to_json(const View& view, Side side) {
  const ServerSample& seen = view.sample()[side];
  const ServerState* const state = view.server(side);
  return {{"address", seen.address},
          {"reachable", state != nullptr},
          {"error", state != nullptr || seen.error.empty() ? Json() : Json(seen.error)},
          {"in_recovery", state != nullptr ? Json(state->in_recovery) : Json()},
          {"takes_writes", state != nullptr ? or_null(known_to_take_writes(*state)) : Json()}};
}

Json pair_to_json(const NamedView& pair) {
  const View& view = pair.view;
  const SyncStreak& streak = view.streak();
  const bool fresh = view.fresh();
  const auto writable = fresh ? writable_side(view.sample()) : std::nullopt;
  const CatchUp* const catch_up = fresh && view.sample().catch_up ? &*view.sample().catch_up : nullptr;
  Json reasons = Json::array();
  for (const SyncReason& reason : streak.reasons()) reasons.push_back({{"name", reason.name}, {"text", reason.text}});
  return {{"name", pair.name},
          {"labels", pair.labels},
          {"verdict", verdict(view)},
          {"in_sync", streak.in_sync()},
          {"consecutive", streak.consecutive()},
          {"required", streak.policy().required},
          {"since", streak.since() ? Json(to_iso8601(*streak.since())) : Json()},
          {"reasons", reasons},
          {"lag_bytes", fresh ? or_null(pair_lag(view.sample()).replay_bytes) : Json()},
          {"catch_up_seconds", catch_up != nullptr ? Json(to_seconds(catch_up->took)) : Json()},
          {"catch_up_remaining_bytes", catch_up != nullptr ? Json(catch_up->remaining) : Json()},
          {"writable", writable ? Json(to_string(*writable)) : Json()},
          {"age_seconds", view.observed() ? Json(to_seconds(view.now() - view.sample().sampled_mono)) : Json()},
          {"stale_after_seconds", to_seconds(streak.policy().max_gap())},
          {"primary", server_to_json(view, Side::primary)},
          {"replica", server_to_json(view, Side::replica)}};
}

}  // namespace

std::string_view verdict(const View& view) { return verdicts.at(rank(view)).name; }

std::string pairs_to_json(const std::vector<NamedView>& pairs) {
  std::vector<std::pair<std::size_t, const NamedView*>> order;
  for (const NamedView& pair : pairs) order.emplace_back(rank(pair.view), &pair);
  std::ranges::sort(order, {}, [](const auto& entry) { return std::tie(entry.first, entry.second->name); });
  Json list = Json::array();
  for (const auto& [place, pair] : order) list.push_back(pair_to_json(*pair));
  return json_text(list, 1) + "\n";
}

std::string targets_to_json(const std::vector<NamedView>& pairs, const std::string& host) {
  Json list = Json::array();
  for (const NamedView& pair : pairs) {
    Json labels = pair.labels;
    labels["cluster"] = pair.name;
    labels["instance"] = pair.name;  // else all of them would be one
    labels["exporter"] = host;       // by this a rule knows that a pair has gone and its exporter has not
    labels["__metrics_path__"] = "/probe";
    labels["__param_target"] = pair.name;
    list.push_back({{"targets", {host}}, {"labels", labels}});
  }
  return json_text(list, 1) + "\n";
}

}  // namespace pgrm::exporter
