#include "agent/warm/warming.h"

#include <fmt/format.h>

#include <iostream>
#include <optional>
#include <utility>

#include "agent/base/state_dir.h"
#include "agent/commands/invocation.h"
#include "core/base/error.h"
#include "core/base/json_text.h"
#include "core/replication/sample.h"

namespace pgrm::agent {
namespace {

/// What replays is warmed by what it replays from.
void require_pair(Invocation& invocation) {
  const Options& options = invocation.options;
  const Sample seen = observe_pair(*invocation.servers.old_primary.admin, *invocation.servers.new_primary.admin, 1,
                                   pgrm::system_clock(), options.call_deadline);
  for (const ServerSample* const server : {&seen.primary, &seen.replica}) {
    if (!server->state) throw Error(ErrorCode::unreachable, server->error);
  }
  std::string problem;
  if (seen.primary.state->in_recovery) problem = options.pair.old_primary.address() + " is no primary";
  if (!seen.replica.state->in_recovery) problem = options.pair.new_primary.address() + " is no standby";
  if (seen.primary.state->system_identifier != seen.replica.state->system_identifier) {
    problem = "the two servers are not of one cluster";
  }
  if (!problem.empty()) {
    throw Error(ErrorCode::preflight_refused, problem,
                "agent status shows both servers; after a cutover: agent warm --switch-back");
  }
}

nlohmann::json to_json(const Options& options, const WarmSurvey& survey, const Warmed* warmed) {
  const auto bytes = [&](std::int64_t blocks) { return nlohmann::json(survey.bytes(blocks)); };
  nlohmann::json json{{"old_primary", options.pair.old_primary.address()},
                      {"future_primary", options.pair.new_primary.address()},
                      {"source", survey.source},
                      {"wanted_bytes", bytes(survey.plan.wanted)},
                      {"held_bytes", survey.held_known ? bytes(survey.plan.held) : nlohmann::json()},
                      {"to_load_bytes", bytes(survey.plan.to_load)},
                      {"no_room_bytes", bytes(survey.plan.no_room)},
                      {"advice", survey.advice},
                      {"databases", nlohmann::json::array()}};
  for (const auto& [oid, database] : survey.databases) {
    json["databases"].push_back({{"name", oid == 0 ? nlohmann::json() : nlohmann::json(database.name)},
                                 {"way", database.way.empty() ? nlohmann::json() : nlohmann::json(database.way)},
                                 {"to_load_bytes", bytes(database.to_load)}});
  }
  if (warmed == nullptr) return json;
  json["loaded_bytes"] = bytes(warmed->blocks.loaded);
  json["left_bytes"] = {{"denied", bytes(warmed->blocks.denied)},
                        {"unreadable", bytes(warmed->blocks.unreadable)},
                        {"unopened", bytes(warmed->unopened)},
                        {"failed", bytes(warmed->failed)},
                        {"gone", bytes(warmed->gone)},
                        {"not_reached", bytes(warmed->not_reached)}};
  json["ended_early"] = warmed->ended.empty() ? nlohmann::json() : nlohmann::json(warmed->ended);
  json["seconds"] = to_seconds(warmed->took);
  json["yielded_seconds"] = to_seconds(warmed->yielded);
  return json;
}

}  // namespace

int warm(const Settings& settings, const Arguments& arguments, std::stop_token stop) {
  Invocation invocation(options_of(settings, arguments), arguments, new_cutover_id(pgrm::system_clock().wall()));
  const Options& options = invocation.options;
  Progress& progress = invocation.progress;
  require_pair(invocation);
  progress.begins("warm", "the buffers of both servers are compared");
  const Mono began = pgrm::system_clock().now();
  const auto ends = [&](std::string_view result, const std::string& evidence) {
    progress.ends(result, pgrm::system_clock().now() - began, evidence);
  };
  std::optional<Warmed> warmed;
  std::optional<WarmSurvey> survey;
  try {
    survey = survey_buffers(invocation.servers.old_primary, invocation.servers.new_primary, options.pair,
                            warm_statement_timeout);
    if (!arguments.dry_run) {
      warmed = warm_up({.servers = invocation.servers,
                        .options = options,
                        .clock = pgrm::system_clock(),
                        .stop = std::move(stop),
                        .tells = [&progress](const std::string& what) { progress.waits(what); }},
                       *survey);
    }
  } catch (const Error& error) {
    ends("failed", error.what());
    throw;
  }
  const bool whole = !warmed || warmed->ended.empty();
  ends(!warmed ? "looked"
       : whole ? "done"
               : "failed",
       warmed ? describe(*survey, *warmed) : describe(*survey, options.warm_rate));
  for (const std::string& advice : survey->advice) progress.says("           " + advice);
  if (arguments.json) {
    std::cout << json_text(to_json(options, *survey, warmed ? &*warmed : nullptr), 2) << '\n';
  }
  if (!whole) {
    throw Error(ErrorCode::undone, "interrupted: what was loaded stays loaded",
                "the same command goes on with the rest");
  }
  return 0;
}

}  // namespace pgrm::agent
