#include "agent/commands/recover_once.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <iostream>

#include "agent/base/state_dir.h"
#include "agent/commands/invocation.h"
#include "agent/engine/journal.h"
#include "agent/engine/marker.h"
#include "agent/view/report.h"
#include "core/base/error.h"
#include "core/base/json_text.h"

namespace pgrm::agent {
namespace {

const int undecided_exit = error_row(ErrorCode::undecided).exit_code;

struct Found {
  std::string directory, path;
  std::vector<JournalRecord> records;

  const nlohmann::json& about() const { return records.front().fields.at("cutover"); }
};

/// Whether a journal is about these two servers, in whichever direction.
bool same_pair(const nlohmann::json& about, const Pair& pair) {
  const std::string old_primary = about.at("old_primary"), new_primary = about.at("new_primary");
  const std::string ours = pair.primary.address(), theirs = pair.replica.address();
  return (old_primary == ours && new_primary == theirs) || (old_primary == theirs && new_primary == ours);
}

/// The newest journal of this pair: of this cluster where its identifier is known, else by the addresses.
std::optional<Found> newest_journal(const std::string& state_dir, const Pair& pair, const std::string& cluster) {
  for (const std::string& directory : directories_with(state_dir, "journal.jsonl")) {
    if (!cluster.empty() && !directory.ends_with("-" + cluster)) continue;
    Found found{directory, directory + "/journal.jsonl", {}};
    found.records = parse_journal(read_file(found.path));
    if (found.records.empty()) continue;  // nothing had begun
    if (cluster.empty() && !same_pair(found.about(), pair)) continue;
    return found;
  }
  return std::nullopt;
}

/// What both servers say; empty when neither is seen. Throws Error(configuration) when they are not of one cluster.
std::string cluster_of(const Situation& seen) {
  const std::string& ours = seen.old_primary.system_identifier;
  const std::string& theirs = seen.new_primary.system_identifier;
  if (!ours.empty() && !theirs.empty() && ours != theirs) {
    throw Error(ErrorCode::configuration,
                fmt::format("{} belongs to cluster {}, {} to {}", seen.old_primary.address, ours,
                            seen.new_primary.address, theirs),
                "check PRIMARY_* and REPLICA_*");
  }
  return ours.empty() ? theirs : ours;
}

int say(const Arguments& arguments, const Situation& seen, int exit_code, const std::string& what,
        const std::string& hint = {}) {
  if (arguments.json) {
    nlohmann::json answer = situation_to_json(seen);
    answer["message"] = what;
    answer["hint"] = hint;
    answer["exit_code"] = exit_code;
    std::cout << json_text(answer, 2) << '\n';
    return exit_code;
  }
  std::cout << what << '\n';
  if (!hint.empty()) std::cout << "hint: " << hint << '\n';
  std::cout << '\n';
  print(std::cout, seen);
  return exit_code;
}

void take_lock(Invocation& invocation) {
  const Duration deadline = invocation.options.call_deadline;
  if (invocation.servers.lock->try_lock(deadline)) return;
  throw Error(ErrorCode::undecided, invocation.servers.lock->lock_holder(deadline) + " holds the lock of this cluster",
              "wait until it has ended");
}

/// Lifts a fence of which there is no journal, on the word of a person.
int lift_without_journal(Invocation& invocation, const ServerSeen& fenced, const Arguments& arguments) {
  Server& server = invocation.servers.old_primary;
  const Duration deadline = invocation.options.call_deadline;
  take_lock(invocation);
  FencePlan plan;
  plan.wedge = fenced.fence.whose();
  const std::string application = invocation.options.pair.old_primary.get("dbname");
  std::string closed;
  for (const Database& database : server.admin->fence_view(deadline).databases) {
    if (database.open) continue;
    if (database.name == application) {
      plan.databases.push_back(database.name);
    } else {
      closed += (closed.empty() ? "" : ", ") + database.name;
    }
  }
  lift_fence(server, plan, pgrm::system_clock(), deadline);
  if (!fenced.markers.empty()) server.admin->set_marker(std::nullopt, deadline);
  const Situation now =
      look_around(invocation.servers, invocation.options.pair, Trying::asking, invocation.options.call_deadline);
  std::string what = fmt::format(
      "the fence {} was lifted; what default_transaction_read_only and synchronous_standby_names were set to before it "
      "is not known: they are reset",
      plan.wedge);
  if (!closed.empty()) what += fmt::format("; still closed: {}", closed);
  return say(arguments, now, error_row(ErrorCode::undone).exit_code, what,
             closed.empty() ? "" : "alter database … allow_connections true, for those that the fence has closed");
}

/// Takes away the marker of a cutover that is settled, or that is lost, on the word of a person.
int remove_marker(const Settings& settings, const Arguments& arguments, const Situation& seen, bool swapped) {
  const ServerSeen& marked = swapped ? seen.new_primary : seen.old_primary;
  const std::string what = fmt::format("the marker of cutover {} on {}", marker_on(marked), marked.address);
  if (arguments.dry_run) return say(arguments, seen, 0, "would take away " + what);
  Arguments directed = arguments;
  directed.switch_back = swapped;
  Invocation invocation(options_of(settings, directed), directed, new_cutover_id(pgrm::system_clock().wall()));
  take_lock(invocation);
  invocation.servers.old_primary.admin->set_marker(std::nullopt, invocation.options.call_deadline);
  return say(arguments, seen, 0, what + " was taken away: it has left nothing else behind");
}

/// There is no journal of a cutover that has not come to its end: what is seen decides.
int without_journal(const Settings& settings, const Arguments& arguments, const Situation& seen,
                    const std::optional<Found>& last) {
  const auto carries = [](const ServerSeen& server) {
    return server.seen() && !server.in_recovery && server.fence.any();
  };
  const bool swapped = !carries(seen.old_primary) && carries(seen.new_primary);
  const ServerSeen& fenced = swapped ? seen.new_primary : seen.old_primary;
  const ServerSeen& other = swapped ? seen.old_primary : seen.new_primary;
  const std::string nothing = last ? "nothing to recover: the last cutover has come to its end"
                                   : "nothing to recover: no cutover has left anything behind";
  if (carries(fenced) && other.takes_writes != true) {
    if (arguments.decision == Decision::abort && other.seen() && other.in_recovery) {
      if (arguments.dry_run) return say(arguments, seen, 0, fmt::format("would lift the fence of {}", fenced.address));
      Arguments directed = arguments;
      directed.switch_back = swapped;
      Invocation invocation(options_of(settings, directed), directed, new_cutover_id(pgrm::system_clock().wall()));
      return lift_without_journal(invocation, fenced, arguments);
    }
    if (last && fenced.fence.whose() == wedge_of(last->about().at("id").get<std::string>())) {
      return say(arguments, seen, undecided_exit,
                 fmt::format("cutover {} has come to its end: {} is behind its fence, and {} takes no writes",
                             last->about().at("id").get<std::string>(), fenced.address, other.address),
                 fmt::format("{} is the new primary: start it, and find out in its log why it does not take writes",
                             other.address));
    }
    return say(
        arguments, seen, undecided_exit,
        fmt::format("{} carries the fence {}, and STATE_DIR ({}) has no journal of that cutover{}", fenced.address,
                    fenced.fence.whose(), state_dir_from(settings),
                    fenced.markers.empty() ? "" : ", which says: " + fenced.markers.front()),
        "agent recover on the host and with the STATE_DIR of that cutover. If they are lost: agent recover --abort "
        "lifts the fence while the other server is seen in recovery");
  }
  const bool marked_swapped = marker_on(seen.old_primary).empty();
  const std::string marker = marker_on(marked_swapped ? seen.new_primary : seen.old_primary);
  if (!marker.empty()) {
    const bool settled_here = last && is_marker_of(marker, last->about().at("id"));
    if (settled_here || arguments.decision == Decision::abort) {
      return remove_marker(settings, arguments, seen, marked_swapped);
    }
    return say(arguments, seen, undecided_exit,
               fmt::format("cutover {} has not come to its end, and STATE_DIR here ({}) has no journal of it", marker,
                           state_dir_from(settings)),
               "agent recover there; if that host is lost and the servers below are as they should be: agent recover "
               "--abort takes the marker away");
  }
  if (!last && (!seen.old_primary.seen() || !seen.new_primary.seen())) {
    return say(arguments, seen, undecided_exit,
               "cannot tell whether there is anything to recover: a server is not seen",
               "bring it back into reach, or correct PRIMARY_* and REPLICA_*; then: agent recover");
  }
  return say(arguments, seen, 0, nothing);
}

/// What a dead agent has ordered must not be carried out later, and its lock is free sooner.
void end_predecessors(Invocation& invocation) {
  for (Server* const server : {&invocation.servers.old_primary, &invocation.servers.new_primary}) {
    try {
      server->admin->end_predecessors(invocation.options.call_deadline);
    } catch (const Error& error) {
      spdlog::warn("sessions of the agent that died: {}", error.what());
    }
  }
}

int say_what_it_would_do(Cutover& run, const Found& found, const Arguments& arguments) {
  const RecoveryRow& row = recovery_for(run, found.records, arguments.decision);
  std::string what = fmt::format("cutover {} has not come to its end ({})\nwould {}: {}", run.id, found.path,
                                 to_string(row.action), row.says);
  if (row.patience != Patience::none) what += fmt::format(" ({})", to_string(row.patience));
  return say(arguments, *run.situation, 0, what, std::string(row.hint));
}

}  // namespace

bool has_unsettled(const Settings& settings) {
  const auto found = newest_journal(state_dir_from(settings), pair_from(settings), {});
  return found && !settled(found->records);
}

int recover_once(const Settings& settings, const Arguments& arguments, std::stop_token stop, const LogTo& log_to,
                 const std::string& log) {
  const std::string state_dir = state_dir_from(settings);
  std::optional<StateLock> state_lock;
  // The lock of an agent that was killed, too, goes with its last descriptor, a moment after its pipe.
  if (!arguments.dry_run) state_lock.emplace(state_dir, patience_with_guard);
  Situation seen;
  {
    const Options asked = options_of(settings, arguments);
    Servers servers = make_servers(asked.pair, "recover");
    seen = look_around(servers, asked.pair, Trying::asking, asked.call_deadline);
  }
  const auto found = newest_journal(state_dir, pair_from(settings), cluster_of(seen));
  if (!found || settled(found->records)) return without_journal(settings, arguments, seen, found);

  Arguments directed = arguments;
  directed.switch_back = found->about().at("switch_back");
  Options options = options_of(settings, directed);
  const bool nobody = settings.given("TRAFFIC") && options.traffic.empty();
  recall_options(options, found->records.front().fields.at("options"), settings);
  if (nobody) {  // on the word of a person
    options.traffic.clear();
    options.hooks_directory.clear();
  }
  Invocation invocation(std::move(options), directed, found->about().at("id"));
  Cutover run = invocation.cutover(std::move(stop));
  run.system_identifier = found->about().at("system_identifier");
  run.old_timeline = found->about().at("timeline");
  refuse_strangers(invocation.servers, run.old_timeline);
  if (about(run) != found->about()) {
    throw Error(ErrorCode::configuration,
                fmt::format("{} is about {} -> {}, not about {} -> {}", found->path,
                            found->about().value("old_primary", "?"), found->about().value("new_primary", "?"),
                            run.options.pair.old_primary.address(), run.options.pair.new_primary.address()),
                "give recover the same PRIMARY_* and REPLICA_* as the cutover had");
  }
  if (arguments.dry_run) return say_what_it_would_do(run, *found, arguments);
  log_to(found->directory + "/" + log);
  end_predecessors(invocation);
  Journal journal(reopen_journal_file(found->path), pgrm::system_clock());
  invocation.progress.says(fmt::format("recovering cutover {}: {} -> {}", run.id,
                                       run.options.pair.old_primary.address(), run.options.pair.new_primary.address()));
  if (nobody) run.warnings.emplace_back("no traffic driver and no hook was told, as --traffic none says");
  return report_outcome(run, recover(run, journal, found->records, arguments.decision), directed, found->directory);
}

}  // namespace pgrm::agent
