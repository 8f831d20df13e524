// Whether the standby keeps up.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "agent/checks/groups.h"
#include "agent/checks/judging.h"

namespace pgrm::agent {
namespace {

Verdict slot(const Facts& facts) {
  const auto& receiver = replica_state(facts).receiver;
  if (!receiver) return unknown("without a WAL receiver the replica's slot is not known");
  if (receiver->slot.empty()) {
    return warn("the replica streams without a slot", "set primary_slot_name, so that the primary keeps WAL for it");
  }
  const auto& slots = primary_state(facts).slots;
  const auto found = std::ranges::find(slots, receiver->slot, &Slot::name);
  if (found == slots.end()) return fail("the primary has no slot " + receiver->slot, "look at the replica's log");
  const std::string status = found->wal_status.value_or("unknown");
  const std::string observed =
      fmt::format("{} is {}, WAL {}", found->name, found->active ? "active" : "inactive", status);
  if (!found->active || found->type != "physical" || (status != "reserved" && status != "extended")) {
    return fail(observed + ", required: a physical, active slot with WAL reserved",
                "select * from pg_replication_slots on the primary");
  }
  constexpr std::int64_t little = 64LL << 20;
  if (found->safe_wal_bytes && *found->safe_wal_bytes < little) {
    return warn(fmt::format("{}, and only {} bytes more before it is lost (max_slot_wal_keep_size)", observed,
                            *found->safe_wal_bytes),
                "alter system set max_slot_wal_keep_size = '…'; select pg_reload_conf() on the primary");
  }
  return pass(observed);
}

Verdict lag(const Facts& facts) {
  const auto reasons = out_of_sync(facts.sample, facts.thresholds);
  const PairLag lag = pair_lag(facts.sample);
  if (reasons.empty() && facts.sample.catch_up) {
    return pass(fmt::format("the replica caught up in {}", human(facts.sample.catch_up->took)));
  }
  if (reasons.empty()) return pass(fmt::format("{} bytes to replay", lag.replay_bytes.value_or(0)));
  if (facts.lag_before && facts.lag_after && *facts.lag_after > *facts.lag_before &&
      *facts.lag_after > facts.thresholds.bytes) {
    return warn(
        fmt::format("it grows: {} bytes to replay, then {}", *facts.lag_before, *facts.lag_after),
        "select * from pg_stat_replication on the primary shows where WAL waits: sent, written, flushed, replayed");
  }
  std::vector<std::string> texts;
  for (const SyncReason& reason : reasons) texts.push_back(reason.text);
  // A warning: wait_sync waits for the pair to be in sync, and is the judge of it.
  return warn(fmt::format("{}", fmt::join(texts, "; ")), "the cutover waits for it, at most SYNC_TIMEOUT seconds");
}

Verdict replay_running(const Facts& facts) {
  if (replica_state(facts).replay_paused.value_or(false)) {
    return fail("replay is paused", "select pg_wal_replay_resume() on the replica");
  }
  return pass("replay runs");
}

Verdict apply_delay(const Facts& facts) {
  const std::string delay = setting_of(facts.replica, "recovery_min_apply_delay");
  if (delay != "0") {
    return fail("recovery_min_apply_delay is " + delay + " ms, required: 0",
                "alter system reset recovery_min_apply_delay; select pg_reload_conf() on the replica");
  }
  return pass("recovery_min_apply_delay is 0");
}

Verdict base_backup(const Facts& facts) {
  if (facts.primary.facts->base_backup_running.value_or(false)) {
    return fail("a base backup runs on the primary", "wait for it: select * from pg_stat_progress_basebackup");
  }
  return pass("none runs");
}

Verdict conflicts(const Facts& facts) {
  const auto oldest = facts.replica.facts->oldest_transaction;
  const std::string delay = setting_of(facts.replica, "max_standby_streaming_delay");
  const std::string observed = fmt::format("{} queries cancelled so far, the oldest one now is open for {}",
                                           facts.replica.facts->conflicts, oldest ? human(*oldest) : "0 ms");
  if (oldest && *oldest > std::chrono::seconds(5)) {
    return warn(fmt::format("{}: it may hold replay up for max_standby_streaming_delay = {} ms", observed, delay),
                "select pid, usename, xact_start, query from pg_stat_activity order by xact_start on the replica");
  }
  return pass(observed);
}

Verdict archiver(const Facts& facts) {
  const ServerFacts& primary = *facts.primary.facts;
  if (setting_of(facts.primary, "archive_mode") == "off") return pass("archive_mode is off");
  if (!primary.archive_ready) return unknown("no right to execute pg_ls_archive_statusdir(): grant pg_monitor");
  const std::string observed = fmt::format("{} WAL files wait for the archiver", *primary.archive_ready);
  if (primary.archiver_failing || *primary.archive_ready > 8) {
    return warn(observed + (primary.archiver_failing ? ", and its last attempt has failed" : ""),
                "select * from pg_stat_archiver on the primary: what is not archived when it stops is missing for "
                "point-in-time recovery");
  }
  return pass(observed);
}

constexpr std::array table{
    Check{"replication", "slot", "the primary keeps the WAL that the standby still needs", both, slot},
    Check{"replication", "lag", "the standby keeps up", both, lag},
    Check{"replication", "replay_running", "a paused replay never reaches the end of WAL", replica, replay_running},
    Check{"replication", "apply_delay", "a delayed standby is late by design", replica, apply_delay},
    Check{"replication", "base_backup", "a base backup would be cut off", primary, base_backup},
    Check{"replication", "conflicts", "queries on the standby may hold replay up", replica, conflicts},
    Check{"replication", "archiver", "the archive lacks what is not archived when the old primary stops", primary,
          archiver},
};

}  // namespace

std::span<const Check> replication_checks() { return table; }

}  // namespace pgrm::agent
