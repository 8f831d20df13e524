// Before the first change: preflight, wait_sync, prepare.
#include "agent/engine/acts.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/replication/json.h"

namespace pgrm::agent {

// ---- preflight

std::string look_preflight(Cutover& /*cutover*/) { return "asks both servers, the exporter and the traffic drivers"; }

std::string run_preflight(Cutover& cutover) {
  const Facts facts = gather_facts(cutover.servers, cutover.exporter, cutover.traffic, cutover.node_control,
                                   cutover.options, cutover.clock);
  cutover.findings = judge(facts);
  cutover.progress.checked(cutover.findings);
  if (!passed(cutover.findings)) throw Error(ErrorCode::preflight_refused, sum_up(cutover.findings));
  cutover.system_identifier = facts.sample.primary.state->system_identifier;
  cutover.old_timeline = facts.sample.primary.state->timeline.value();
  cutover.wal_segment = segment_to_align(facts);
  return sum_up(cutover.findings);
}

// ---- wait_sync

std::string look_wait_sync(Cutover& cutover) {
  return fmt::format("waits for {} consecutive in-sync checks, at most {}", cutover.options.required_checks,
                     human(cutover.options.sync_timeout));
}

/// Empty when the exporter's word counts; otherwise why not.
static std::string distrust(const Cutover& cutover, const ExporterState& state) {
  if (state.age > 2 * state.interval) return fmt::format("its observation is {} old", human(state.age));
  if (state.primary.system_identifier != cutover.system_identifier) return "it does not see our primary";
  if (state.replica.system_identifier != cutover.system_identifier) return "it does not see our replica";
  return {};
}

std::string run_wait_sync(Cutover& cutover) {
  std::string seen = "the exporter has not answered";
  std::optional<ExporterState> state;
  const int required = cutover.options.required_checks;
  const auto in_sync = [&] {
    try {
      state = state_from_json(http::get_ok(cutover.exporter, "/api/v1/state", cutover.options.call_deadline));
    } catch (const Error& error) {
      seen = error.what();
      cutover.progress.waits(seen);
      return false;
    }
    seen = distrust(cutover, *state);
    const bool trusted = seen.empty();
    if (trusted) {
      seen = fmt::format("{} of {} checks in sync", std::min(state->consecutive, required), required);
      for (const SyncReason& reason : state->reasons) seen += "; " + reason.text;
    }
    cutover.progress.waits(seen);
    return trusted && state->consecutive >= required;
  };
  if (!waited(cutover, cutover.options.sync_timeout, std::chrono::milliseconds(100), in_sync)) {
    throw Error(ErrorCode::sync_timeout,
                fmt::format("not in sync within {}: {}", human(cutover.options.sync_timeout), seen));
  }
  return fmt::format("{} consecutive checks in sync, {} bytes behind", state->consecutive,
                     state->lag_bytes.value_or(0));
}

// ---- prepare

/// Writes the configuration as it is and loads it: what cannot be written or loaded is found now, and not behind the
/// fence.
static void prove_configuration(Server& server, const std::string& address, Duration deadline) {
  Node& admin = *server.admin;
  try {
    const auto written = admin.overrides_in_file(deadline);
    admin.alter_system(written ? *written : admin.fence_view(deadline).overrides, deadline);
    admin.reload(deadline);
  } catch (const Error& error) {
    throw Error(ErrorCode::preflight_refused,
                fmt::format("the configuration of {} cannot be written and loaded: {}", address, error.what()),
                "select sourcefile, sourceline, name, error from pg_file_settings where error is not null");
  }
}

/// The same on the replica, where only the alignment of the WAL needs it.
static void prove_replica_configuration(Cutover& cutover) {
  if (cutover.wal_segment == 0) return;
  try {
    prove_configuration(cutover.servers.replica, cutover.options.pair.replica.address(), cutover.options.call_deadline);
  } catch (const Error& error) {
    cutover.wal_segment = 0;
    cutover.warnings.push_back(fmt::format("{}; the promotion copies a WAL segment", error.what()));
  }
}

std::string look_prepare(Cutover&) { return "writes a checkpoint on both servers, so that promotion is quick"; }

std::string run_prepare(Cutover& cutover) {
  prove_configuration(cutover.servers.primary, cutover.options.pair.primary.address(), cutover.options.call_deadline);
  prove_replica_configuration(cutover);
  cutover.prepared_at = cutover.clock.now();
  cutover.prepared_from = old_admin(cutover).wal_end(cutover.options.call_deadline).insert;
  cutover.progress.waits("checkpoint on the primary");
  old_admin(cutover).checkpoint(cutover.options.checkpoint_deadline);
  cutover.progress.waits("restartpoint on the replica");
  new_admin(cutover).checkpoint(cutover.options.checkpoint_deadline);
  // Every connection and statement of the critical path is used once, so that nothing has to be opened or planned
  // there.
  const Duration deadline = cutover.options.call_deadline;
  old_admin(cutover).wal_end(deadline);
  const FenceView view = old_admin(cutover).fence_view(deadline);
  old_admin(cutover).client_sessions(std::nullopt, {}, deadline);
  old_admin(cutover).end_sessions(WallTime{}, {}, {}, deadline);  // no session began so early
  new_admin(cutover).wal_replayed(deadline);
  new_admin(cutover).in_recovery(deadline);
  new_admin(cutover).identity(deadline);
  const FencePlan plan = plan_fence(view, cutover.options, cutover.id);  // refuses now what the fence would refuse
  rehearse_attack(cutover.servers.primary, plan, deadline);
  if (!new_admin(cutover).accepts_connections(deadline).get()) {
    throw Error(ErrorCode::unreachable, "the replica does not accept connections");
  }
  for (Server* const server : {&cutover.servers.primary, &cutover.servers.replica}) {
    for (Node* const node : {server->admin.get(), server->application.get()}) node->prepare_orders(deadline);
    server->application->probe_present(cutover.id, deadline);
  }
  cutover.prediction = try_predict(cutover);
  return fmt::format("checkpoints written, connections open{}",
                     cutover.prediction ? ", a write gap of " + human(cutover.prediction->total()) + " predicted" : "");
}

}  // namespace pgrm::agent
