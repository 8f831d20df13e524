#include "agent/view/status_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "agent/engine/steps.h"
#include "core/replication/lag.h"

namespace pgrm::agent {
namespace {

struct Role {
  std::string_view name, sgr;
};

Role role_of(const ServerSample& node) {
  if (!node.state) return {"unreachable", red};
  if (node.state->in_recovery) return {"standby", cyan};
  const auto read_only_default = read_only(*node.state);
  if (!read_only_default) return {"no standby", yellow};  // whether it is read-only is hidden
  return *read_only_default ? Role{"read-only", yellow} : Role{"primary", green};
}

std::string text_of(const std::optional<Lsn>& position) { return position ? position->to_string() : "-"; }

std::optional<Lsn> position_of(const ServerSample& node) {
  if (!node.state) return std::nullopt;
  return node.state->in_recovery ? node.state->wal_replay : node.state->wal_flush;
}

std::string timeline_of(const ServerSample& node) {
  return node.state && node.state->timeline ? std::to_string(*node.state->timeline) : "-";
}

/// Whether what the exporter says is about these very servers.
bool about_us(const PairSnapshot& snapshot) {
  const auto& state = snapshot.sample.primary.state ? snapshot.sample.primary.state : snapshot.sample.replica.state;
  const auto& server =
      snapshot.exporter->primary.system_identifier.empty() ? snapshot.exporter->replica : snapshot.exporter->primary;
  return state && server.system_identifier == state->system_identifier;
}

struct Gate {
  std::string text;
  std::string_view sgr;
};

/// Whether a cutover could begin now, in one line.
Gate gate_of(const PairSnapshot& snapshot) {
  const auto writable = writable_side(snapshot.sample);
  if (!wal_flow(snapshot.sample) && writable == Side::replica) {
    return {"CUT OVER: the replica is the primary now", green};
  }
  if (!snapshot.exporter) return {"UNKNOWN: the exporter does not answer", red};
  if (!about_us(snapshot)) return {"UNKNOWN: the exporter does not see these servers", red};
  const ExporterState& state = *snapshot.exporter;
  if (state.age > state.stale_after)
    return {"UNKNOWN: the exporter's observation is " + human(state.age) + " old", red};
  std::string streak = fmt::format("{} in-sync checks in a row, {} required", state.consecutive, state.required);
  if (state.catch_up) streak += fmt::format("; the replica caught up in {}", human(*state.catch_up));
  if (state.in_sync && state.consecutive >= state.required) return {"READY: " + streak, green};
  if (state.in_sync) return {"SOON: " + streak, yellow};
  return {"NOT IN SYNC", red};
}

void add_servers(Lines& lines, const PairSnapshot& snapshot) {
  lines.emplace_back().add(fmt::format("  {:<8} {:<22} {:<11} {:>8} {:>11}  {}", "server", "address", "is", "timeline",
                                       "connections", "WAL at"),
                           dim);
  for (const Side side : both_sides) {
    const ServerSample& node = snapshot.sample[side];
    const Role role = role_of(node);
    const std::string connections =
        node.state ? fmt::format("{} of {}", node.state->connections, node.state->connections_limit) : "-";
    lines.emplace_back(fmt::format("  {:<8} {:<22} ", to_string(side), node.address))
        .add(fmt::format("{:<11}", role.name), role.sgr)
        .add(fmt::format(" {:>8} {:>11}  {}", timeline_of(node), connections,
                         node.state ? text_of(position_of(node)) : node.error));
  }
}

/// Where WAL is on its way from the primary's memory to the standby's tables.
void add_pipeline(Lines& lines, const Sample& sample) {
  const auto flow = wal_flow(sample);
  if (!flow) {
    lines.emplace_back().add("  no WAL flows between them", dim);
    return;
  }
  const ServerState& from = *sample[flow->from].state;
  const ServerState& to = *sample[flow->to].state;
  const Standby* const standby = paired_standby(sample);
  const PairLag lag = pair_lag(sample);
  struct Stage {
    std::string_view name;
    std::optional<Lsn> position;
    std::optional<Duration> behind;
  };
  const std::array stages{
      Stage{"inserted", from.wal_insert, {}},
      Stage{"flushed", from.wal_flush, {}},
      Stage{"sent", standby != nullptr ? standby->sent : std::nullopt, {}},
      Stage{"received", std::max(to.wal_receive, to.wal_replay), lag.flush},
      Stage{"replayed", to.wal_replay, lag.replay},
  };
  lines.emplace_back().add(fmt::format("  {:<8} {:<22} {:>11} {:>12}", "WAL", "position", "behind", "delay"), dim);
  for (const auto& [name, position, delay] : stages) {
    const auto behind = bytes_behind(position, from.wal_insert);
    lines.emplace_back(fmt::format("  {:<8} {:<22} {:>11} {:>12}", name, text_of(position),
                                   behind ? human_bytes(*behind) : "unknown", delay ? human(*delay) : ""));
  }
}

/// The last values as columns, newest on the right: each column is the largest of its time.
std::vector<std::int64_t> columns_of(const std::vector<LagHistory::Point>& history, std::size_t columns) {
  const std::size_t per_column = std::max<std::size_t>(1, (history.size() + columns - 1) / columns);
  std::vector<std::int64_t> values;
  for (std::size_t i = 0; i < history.size(); i += per_column) {
    std::int64_t most = 0;
    for (std::size_t j = i; j < std::min(i + per_column, history.size()); ++j) most = std::max(most, history[j].bytes);
    values.push_back(most);
  }
  return values;
}

void add_lag(Lines& lines, const PairSnapshot* snapshot, const std::vector<LagHistory::Point>& history,
             const Style& style) {
  std::string now = "unknown";
  if (snapshot != nullptr) {
    if (const auto bytes = pair_lag(snapshot->sample).replay_bytes) now = human_bytes(*bytes);
  }
  Line& line = lines.emplace_back(fmt::format("  {:<8} ", "lag")).add(fmt::format("{:<9}", now), bold);
  if (history.size() < 2) return;
  const std::int64_t peak = std::ranges::max(history, {}, &LagHistory::Point::bytes).bytes;
  const std::string span =
      fmt::format("  peak {} in {}", human_bytes(peak), human(history.back().at - history.front().at));
  const std::size_t width = style.width == 0 ? 80 : style.width;
  const std::size_t room = width > 24 + span.size() ? std::min<std::size_t>(60, width - 22 - span.size()) : 4;
  line.add(sparkline(columns_of(history, room), style), cyan).add(span, dim);
}

void add_slots(Lines& lines, const Sample& sample) {
  for (const Side side : both_sides) {
    if (!sample[side].state) continue;
    const auto at = position_of(sample[side]);
    for (const Slot& slot : sample[side].state->slots) {
      const auto kept = bytes_behind(slot.restart, at);
      lines.emplace_back(fmt::format("  {:<8} {} on {}: ", "slot", slot.name, to_string(side)))
          .add(slot.active ? "active" : "not active", slot.active ? green : yellow)
          .add(fmt::format(", WAL {}, keeps {}", slot.wal_status.value_or("unknown"),
                           kept ? human_bytes(*kept) : "unknown"));
    }
  }
}

void add_reasons(Lines& lines, const PairSnapshot& snapshot) {
  if (!snapshot.exporter || !about_us(snapshot) || !wal_flow(snapshot.sample)) return;
  for (const SyncReason& reason : snapshot.exporter->reasons) {
    lines.emplace_back(fmt::format("  {:<8} ", "blocks")).add(reason.text, red);
  }
}

}  // namespace

Lines status_lines(const PairSnapshot& snapshot, const std::vector<LagHistory::Point>& history, const Style& style) {
  Lines lines;
  const Gate gate = gate_of(snapshot);
  const std::string time = to_iso8601(snapshot.sample.sampled_at).substr(11, 8) + " UTC";
  const std::size_t width = style.width == 0 ? 80 : std::min<std::size_t>(style.width, 110);
  const std::size_t used = 2 + gate.text.size() + time.size();
  lines.emplace_back("  ")
      .add(gate.text, gate.sgr)
      .add(std::string(width > used ? width - used : 2, ' '))
      .add(time, dim);
  lines.emplace_back();
  add_servers(lines, snapshot);
  lines.emplace_back();
  add_pipeline(lines, snapshot.sample);
  lines.emplace_back();
  add_lag(lines, &snapshot, history, style);
  add_slots(lines, snapshot.sample);
  add_reasons(lines, snapshot);
  return lines;
}

std::string status_line(const PairSnapshot& snapshot) {
  const auto lag = pair_lag(snapshot.sample).replay_bytes;
  std::string line = to_iso8601(snapshot.sample.sampled_at);
  for (const Side side : both_sides) {
    const ServerSample& node = snapshot.sample[side];
    line += fmt::format("  {} {} {}", to_string(side), role_of(node).name, text_of(position_of(node)));
  }
  line += fmt::format("  lag {}  {}", lag ? human_bytes(*lag) : "unknown", gate_of(snapshot).text);
  if (snapshot.exporter && about_us(snapshot)) {
    for (const SyncReason& reason : snapshot.exporter->reasons) line += "; " + reason.text;
  }
  return line;
}

nlohmann::json status_to_json(const PairSnapshot& snapshot) {
  nlohmann::json status{{"sampled_at", to_iso8601(snapshot.sample.sampled_at)}, {"sync", nullptr}};
  for (const Side side : both_sides) {
    const ServerSample& node = snapshot.sample[side];
    const auto position = position_of(node);
    status["nodes"][std::string(to_string(side))] = {
        {"address", node.address},
        {"role", role_of(node).name},
        {"error", node.error.empty() ? nlohmann::json() : nlohmann::json(node.error)},
        {"timeline", node.state && node.state->timeline ? nlohmann::json(*node.state->timeline) : nlohmann::json()},
        {"wal_lsn", position ? nlohmann::json(position->to_string()) : nlohmann::json()}};
  }
  const auto lag = pair_lag(snapshot.sample).replay_bytes;
  status["lag_bytes"] = lag ? nlohmann::json(*lag) : nlohmann::json();
  const auto writable = writable_side(snapshot.sample);
  status["writable"] = writable ? nlohmann::json(to_string(*writable)) : nlohmann::json();
  if (snapshot.exporter && about_us(snapshot)) {
    auto reasons = nlohmann::json::array();
    for (const SyncReason& reason : snapshot.exporter->reasons) reasons.push_back(reason.text);
    status["sync"] = {{"in_sync", snapshot.exporter->in_sync},
                      {"consecutive", snapshot.exporter->consecutive},
                      {"required", snapshot.exporter->required},
                      {"reasons", reasons}};
  }
  return status;
}

Lines cutover_lines(const std::string& title, const Standing& standing, const PairSnapshot* snapshot,
                    const std::vector<LagHistory::Point>& history, Mono now, const Style& style) {
  Lines lines;
  lines.emplace_back().add(title, bold);
  if (snapshot != nullptr) add_servers(lines, *snapshot);
  add_lag(lines, snapshot, history, style);
  lines.emplace_back();
  for (const StepStanding& step : standing.steps) {
    const Mark& mark = mark_of(step.result);
    lines.emplace_back("  ")
        .add(fmt::format("{:<8}", mark.mark), mark.colour)
        .add(" " + step_text(step, now), step.result.empty() ? bold : "");
  }
  const bool undoing = standing.phase == "undo" || standing.exit_code;
  for (const Step& step : steps()) {
    const bool begun = std::ranges::find(standing.steps, step.name, &StepStanding::name) != standing.steps.end();
    if (begun || undoing) continue;
    lines.emplace_back().add(fmt::format("  {:<8} {:<18} {:>10}  {}", "", step.name, "", step.why), dim);
  }
  return lines;
}

}  // namespace pgrm::agent
