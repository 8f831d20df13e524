#include "agent/compare/record.h"

namespace pgrm::agent {
namespace {

nlohmann::json optional_to_json(const std::optional<WorkloadSnapshot>& snapshot) {
  return snapshot ? to_json(*snapshot) : nlohmann::json();
}

std::optional<WorkloadSnapshot> optional_snapshot(const nlohmann::json& json) {
  return json.is_null() ? std::nullopt : std::optional(snapshot_from_json(json));
}

/// Arrays: there are thousands of them.
nlohmann::json statements_to_json(const Statements& statements) {
  auto rows = nlohmann::json::array();
  for (const auto& [id, one] : statements) rows.push_back({id, one.calls, one.milliseconds, one.blocks, one.read});
  return rows;
}

Statements statements_from_json(const nlohmann::json& rows) {
  Statements statements;
  for (const auto& row : rows) {
    statements[row.at(0).get<std::int64_t>()] = {row.at(1), row.at(2), row.at(3), row.at(4)};
  }
  return statements;
}

}  // namespace

nlohmann::json to_json(const WorkloadSnapshot& snapshot) {
  return {{"version", snapshot.version},
          {"system_identifier", snapshot.system_identifier},
          {"database", snapshot.database},
          {"at", to_unix(snapshot.at)},
          {"started_at", to_unix(snapshot.started_at)},
          {"counters", snapshot.counters},
          {"resets", snapshot.resets},
          {"settings", snapshot.settings},
          {"statements", snapshot.statements ? statements_to_json(*snapshot.statements) : nlohmann::json()},
          {"statements_problem", snapshot.statements_problem},
          {"statements_hint", snapshot.statements_hint}};
}

WorkloadSnapshot snapshot_from_json(const nlohmann::json& json) {
  WorkloadSnapshot snapshot{.version = json.at("version"),
                            .system_identifier = json.at("system_identifier"),
                            .database = json.at("database"),
                            .at = from_unix(json.at("at").get<double>()),
                            .started_at = from_unix(json.at("started_at").get<double>()),
                            .statements_problem = json.at("statements_problem"),
                            .statements_hint = json.at("statements_hint")};
  for (const auto& [name, value] : json.at("counters").items()) snapshot.counters[name] = value;
  for (const auto& [name, value] : json.at("resets").items()) snapshot.resets[name] = value;
  for (const auto& [name, value] : json.at("settings").items()) snapshot.settings[name] = value;
  if (const auto& rows = json.at("statements"); !rows.is_null()) snapshot.statements = statements_from_json(rows);
  return snapshot;
}

nlohmann::json to_json(const WorkloadRecord& record) {
  return {{"version", 1},
          {"old_primary", record.old_primary},
          {"new_primary", record.new_primary},
          {"begin", optional_to_json(record.begin)},
          {"end", optional_to_json(record.end)},
          {"opened", optional_to_json(record.opened)},
          {"problem", record.problem}};
}

WorkloadRecord record_from_json(const nlohmann::json& json) {
  return {.old_primary = json.at("old_primary"),
          .new_primary = json.at("new_primary"),
          .begin = optional_snapshot(json.at("begin")),
          .end = optional_snapshot(json.at("end")),
          .opened = optional_snapshot(json.at("opened")),
          .problem = json.at("problem")};
}

WorkloadWindow window_before(const WorkloadRecord& record) {
  if (!record.end) {
    return {.problem = "the old primary was not looked at" + (record.problem.empty() ? "" : ": " + record.problem)};
  }
  WorkloadWindow window;
  if (record.begin) window = between(*record.begin, *record.end);
  if (record.begin && window.problem.empty()) return window;
  WorkloadWindow all = whole(*record.end);
  all.notes.push_back((window.problem.empty() ? std::string("there is one look only") : window.problem) +
                      ": it is everything since the statistics of that server began; next time agent compare --begin, "
                      "some time before the cutover, makes a window");
  return all;
}

WorkloadWindow window_after(const WorkloadRecord& record, const WorkloadSnapshot& now) {
  if (record.opened) return between(*record.opened, now);
  WorkloadWindow window{.to = now.at, .settings = now.settings};
  window.problem = "the new primary was not looked at when the cutover was done" +
                   (record.problem.empty() ? "" : " (" + record.problem + ")") +
                   ": agent compare --over SECONDS looks now, and again so much later";
  return window;
}

}  // namespace pgrm::agent
