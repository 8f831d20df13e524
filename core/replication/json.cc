#include "core/replication/json.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/json_text.h"

namespace pgrm {
namespace {

using Json = nlohmann::ordered_json;  // keys in the order in which a person wants to read them

Json seconds_or_null(const std::optional<Duration>& value) { return value ? Json(to_seconds(*value)) : Json(); }

Json time_or_null(const std::optional<WallTime>& value) { return value ? Json(to_iso8601(*value)) : Json(); }

void put_lsn(Json& object, const std::string& name, const std::optional<Lsn>& lsn) {
  object[name] = lsn ? Json(lsn->to_string()) : Json();
  object[name + "_bytes"] = lsn ? Json(std::to_string(lsn->bytes())) : Json();
}

Json to_json(const Standby& standby) {
  Json json;
  json["name"] = standby.name;
  json["application_name"] = standby.application_name;
  json["slot"] = or_null(standby.slot);
  json["state"] = or_null(standby.state);
  json["sync_state"] = or_null(standby.sync_state);
  put_lsn(json, "sent_lsn", standby.sent);
  put_lsn(json, "write_lsn", standby.write);
  put_lsn(json, "flush_lsn", standby.flush);
  put_lsn(json, "replay_lsn", standby.replay);
  json["write_lag_seconds"] = seconds_or_null(standby.write_lag);
  json["flush_lag_seconds"] = seconds_or_null(standby.flush_lag);
  json["replay_lag_seconds"] = seconds_or_null(standby.replay_lag);
  json["reply_time"] = time_or_null(standby.reply_time);
  json["xmin_age_xids"] = or_null(standby.xmin_age);
  return json;
}

Json to_json(const Slot& slot) {
  Json json;
  json["name"] = slot.name;
  json["type"] = slot.type;
  json["active"] = slot.active;
  json["wal_status"] = or_null(slot.wal_status);
  put_lsn(json, "restart_lsn", slot.restart);
  put_lsn(json, "confirmed_flush_lsn", slot.confirmed_flush);
  json["safe_wal_bytes"] = or_null(slot.safe_wal_bytes);
  json["invalidated"] = slot.invalidated;
  json["inactive_since"] = time_or_null(slot.inactive_since);
  return json;
}

Json to_json(const WalReceiver& receiver) {
  Json json;
  json["status"] = receiver.status;
  json["slot"] = receiver.slot;
  json["sender_host"] = receiver.sender_host;
  json["sender_port"] = receiver.sender_port;
  put_lsn(json, "written_lsn", receiver.written);
  put_lsn(json, "flushed_lsn", receiver.flushed);
  put_lsn(json, "latest_end_lsn", receiver.latest_end);
  json["last_message_sent"] = time_or_null(receiver.last_message_sent);
  json["last_message_received"] = time_or_null(receiver.last_message_received);
  return json;
}

Json to_json(const Statistics& statistics) {
  Json json;
  json["connections"] = statistics.connections;
  json["accepting_connections"] = statistics.accepting_connections;
  json["sessions_behind_gate"] = statistics.sessions_behind_gate;
  json["prepared_transactions"] = statistics.prepared_transactions;
  json["oldest_transaction_start"] = time_or_null(statistics.oldest_transaction);
  json["oldest_idle_in_transaction_start"] = time_or_null(statistics.oldest_idle_in_transaction);
  json["archive_ready_segments"] = statistics.archive_ready_segments;
  json["last_archived"] = time_or_null(statistics.last_archived);
  json["last_archive_failure"] = time_or_null(statistics.last_failed);
  json["blocked_sessions"] = statistics.blocked_sessions;
  json["fence"] = statistics.fence;
  json["fence_armed"] = or_null(statistics.upkeep.armed);
  return json;
}

Json to_json(const Collector& collector) {
  Json json;
  json["name"] = collector.name;
  json["seconds"] = to_seconds(collector.took);
  json["error"] = collector.error.empty() ? Json() : Json(collector.error);
  return json;
}

template <class T>
Json to_json(const std::vector<T>& rows) {
  Json json = Json::array();
  for (const T& row : rows) json.push_back(to_json(row));
  return json;
}

void put_state(Json& json, const ServerState& state) {
  json["version"] = state.version;
  json["system_identifier"] = state.system_identifier;
  json["in_recovery"] = state.in_recovery;
  json["timeline"] = or_null(state.timeline);
  json["read_only"] = or_null(read_only(state));
  json["takes_writes"] = or_null(known_to_take_writes(state));
  json["full_view"] = state.full_view;
  json["server_time"] = to_iso8601(state.server_time);
  json["started_at"] = to_iso8601(state.started_at);
  put_lsn(json, "wal_insert_lsn", state.wal_insert);
  put_lsn(json, "wal_write_lsn", state.wal_write);
  put_lsn(json, "wal_flush_lsn", state.wal_flush);
  put_lsn(json, "wal_receive_lsn", state.wal_receive);
  put_lsn(json, "wal_replay_lsn", state.wal_replay);
  json["last_replayed_commit"] = time_or_null(state.last_replayed_commit);
  json["replay_paused"] = or_null(state.replay_paused);
  json["recovery_min_apply_delay_seconds"] = seconds_or_null(state.recovery_min_apply_delay);
  json["wal_receiver_timeout_seconds"] = seconds_or_null(state.receiver_timeout);
  json["connections"] = state.connections;
  json["connections_limit"] = state.connections_limit;
  json["wal_receiver"] = state.receiver ? to_json(*state.receiver) : Json();
  json["standbys"] = state.replication_known ? to_json(state.standbys) : Json();
  json["slots"] = state.replication_known ? to_json(state.slots) : Json();
  json["statistics"] = state.statistics ? to_json(*state.statistics) : Json();
  json["collectors"] = to_json(state.collectors);
}

Json to_json(const ServerSample& node) {
  Json json;
  json["address"] = node.address;
  json["reachable"] = node.state.has_value();
  json["error"] = node.state ? Json() : Json(node.error);
  json["observation_seconds"] = to_seconds(node.took);
  if (node.state) put_state(json, *node.state);
  return json;
}

Json to_json(const SyncStreak& streak, const std::optional<CatchUp>& catch_up) {
  Json json;
  json["in_sync"] = streak.in_sync();
  json["consecutive"] = streak.consecutive();
  json["required"] = streak.policy().required;
  json["since"] = time_or_null(streak.since());
  json["reasons"] = Json::array();
  for (const SyncReason& reason : streak.reasons()) {
    json["reasons"].push_back({{"name", reason.name}, {"text", reason.text}});
  }
  json["threshold_bytes"] = streak.policy().thresholds.bytes;
  json["threshold_seconds"] = to_seconds(streak.policy().thresholds.seconds);
  json["catch_up_seconds"] = catch_up ? Json(to_seconds(catch_up->took)) : Json();
  json["catch_up_remaining_bytes"] = catch_up ? Json(catch_up->remaining) : Json();
  return json;
}

Json to_json(const PairLag& lag) {
  Json json;
  json["bytes"] = or_null(lag.replay_bytes);
  json["receive_bytes"] = or_null(lag.receive_bytes);
  json["write_seconds"] = seconds_or_null(lag.write);
  json["flush_seconds"] = seconds_or_null(lag.flush);
  json["replay_seconds"] = seconds_or_null(lag.replay);
  return json;
}

/// The cluster that both belong to; null while that is not known to be one.
Json shared_system_identifier(const Sample& sample) {
  const auto& primary = sample.primary.state;
  const auto& replica = sample.replica.state;
  if (primary && replica && primary->system_identifier != replica->system_identifier) return {};
  if (primary) return primary->system_identifier;
  return replica ? Json(replica->system_identifier) : Json();
}

/// The value of a key that may be null or missing.
template <class T>
std::optional<T> optional_at(const nlohmann::json& json, const char* key) {
  const auto found = json.find(key);
  if (found == json.end() || found->is_null()) return std::nullopt;
  return found->get<T>();
}

ExporterState::Server server_from(const nlohmann::json& json) {
  return {
      .reachable = json.at("reachable").get<bool>(),
      .in_recovery = optional_at<bool>(json, "in_recovery"),
      .address = json.at("address").get<std::string>(),
      .system_identifier = optional_at<std::string>(json, "system_identifier").value_or(""),
  };
}

ExporterState state_from(const nlohmann::json& json) {
  const nlohmann::json& sync = json.at("sync");
  const nlohmann::json& lag = json.at("lag");
  ExporterState state{
      .generation = json.at("generation").get<std::uint64_t>(),
      .age = from_seconds(json.at("age_seconds").get<double>()),
      .interval = from_seconds(json.at("interval_seconds").get<double>()),
      .stale_after = from_seconds(json.at("stale_after_seconds").get<double>()),
      .primary = server_from(json.at("nodes").at("primary")),
      .replica = server_from(json.at("nodes").at("replica")),
      .in_sync = sync.at("in_sync").get<bool>(),
      .consecutive = sync.at("consecutive").get<int>(),
      .required = sync.at("required").get<int>(),
      .reasons = {},
      .lag_bytes = optional_at<std::int64_t>(lag, "bytes"),
      .replay_lag = std::nullopt,
      .catch_up = std::nullopt,
      .catch_up_remaining_bytes = optional_at<std::int64_t>(sync, "catch_up_remaining_bytes"),
  };
  for (const nlohmann::json& reason : sync.at("reasons")) {
    state.reasons.push_back({reason.at("name").get<std::string>(), reason.at("text").get<std::string>()});
  }
  if (const auto seconds = optional_at<double>(lag, "replay_seconds")) state.replay_lag = from_seconds(*seconds);
  if (const auto seconds = optional_at<double>(sync, "catch_up_seconds")) state.catch_up = from_seconds(*seconds);
  return state;
}

}  // namespace

std::string state_to_json(const Sample& sample, const SyncStreak& streak, Mono now) {
  const auto writable = writable_side(sample);
  Json json;
  json["generation"] = sample.generation;
  json["sampled_at"] = to_iso8601(sample.sampled_at);
  json["age_seconds"] = to_seconds(now - sample.sampled_mono);
  json["interval_seconds"] = to_seconds(streak.policy().interval);
  json["stale_after_seconds"] = to_seconds(streak.policy().max_gap());
  json["system_identifier"] = shared_system_identifier(sample);
  json["writable"] = writable ? Json(to_string(*writable)) : Json();
  json["sync"] = to_json(streak.as_of(now), sample.catch_up);
  json["lag"] = to_json(pair_lag(sample));
  const Standby* const standby = paired_standby(sample);
  json["lag"]["standby"] = standby != nullptr ? Json(standby->name) : Json();
  json["nodes"]["primary"] = to_json(sample.primary);
  json["nodes"]["replica"] = to_json(sample.replica);
  // A server's error text comes in whatever encoding it has.
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

ExporterState state_from_json(const std::string& text) {
  try {
    return state_from(nlohmann::json::parse(text));
  } catch (const nlohmann::json::exception& problem) {
    throw Error(ErrorCode::http_failed, fmt::format("the answer is not an exporter's state: {}", problem.what()),
                "check that the URL is the exporter's and that both programs have the same version");
  }
}

}  // namespace pgrm
