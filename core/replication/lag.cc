#include "core/replication/lag.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace pgrm {
namespace {

bool same_cluster(const ServerState& a, const ServerState& b) { return a.system_identifier == b.system_identifier; }

/// An unknown timeline is no contradiction.
bool same_timeline(const ServerState& a, const ServerState& b) {
  return !a.timeline || !b.timeline || *a.timeline == *b.timeline;
}

/// Everything that the rules below judge, gathered once.
struct Judged {
  const Sample& sample;
  const LagThresholds& thresholds;
  const std::optional<CatchUp>& before;
  std::optional<Flow> flow = wal_flow(sample);
  const Standby* standby = paired_standby(sample);
  PairLag lag = pair_lag(sample);

  const std::optional<ServerState>& primary() const { return sample.primary.state; }
  const std::optional<ServerState>& replica() const { return sample.replica.state; }
  bool both_seen() const { return primary() && replica(); }
  std::string_view from() const { return to_string(flow->from); }
  std::string_view to() const { return to_string(flow->to); }
  const ServerState& standing_by() const { return *sample[flow->to].state; }
};

using Objection = std::optional<std::string>;  // a sentence, or none

Objection unreachable(const Sample& sample, Side side) {
  const ServerSample& node = sample[side];
  if (node.state) return {};
  return fmt::format("{} ({}) is not reachable: {}", to_string(side), node.address, node.error);
}

Objection missing_privilege(const Judged& pair) {
  for (const Side side : both_sides) {
    const auto& state = pair.sample[side].state;
    if (state && !state->full_view) {
      return fmt::format("the role that looks at the {} lacks pg_monitor: replication columns are NULL for it",
                         to_string(side));
    }
  }
  return {};
}

Objection read_only_unknown(const Judged& pair) {
  for (const Side side : both_sides) {
    const auto& state = pair.sample[side].state;
    if (!state || read_only(*state)) continue;
    const std::string& by = state->read_only_hidden_by;
    return fmt::format("default_transaction_read_only of {} hides the server's own on the {}: {}", by, to_string(side),
                       by == "the connection string" ? "take it out of options"
                                                     : "alter " + by + " reset default_transaction_read_only");
  }
  return {};
}

/// In words for every way in which a pair can be without a flow.
Objection roles(const Judged& pair) {
  if (!pair.both_seen() || pair.flow) return {};
  if (one_server(pair.sample)) {
    return fmt::format("primary and replica are one server: both {} and {} lead to it", pair.sample.primary.address,
                       pair.sample.replica.address);
  }
  if (pair.primary()->in_recovery) return "both servers are in recovery: there is no primary";
  if (!read_only(*pair.primary()) || !read_only(*pair.replica())) return "both servers are out of recovery";
  const auto writer = writable_side(pair.sample);
  if (writer == Side::replica) {
    return "the replica has been promoted and takes writes; the primary is a read-only former primary: nothing "
           "replicates";
  }
  if (writer == Side::primary) {
    return "the replica has been promoted but is read-only; the primary takes writes: nothing replicates";
  }
  return takes_writes(*pair.primary()) ? "both servers are out of recovery and take writes: nothing replicates"
                                       : "both servers are out of recovery and read-only: nothing replicates";
}

Objection system_identifier(const Judged& pair) {
  if (!pair.both_seen() || same_cluster(*pair.primary(), *pair.replica())) return {};
  return fmt::format("two different clusters: system identifier {} on the primary, {} on the replica",
                     pair.primary()->system_identifier, pair.replica()->system_identifier);
}

Objection timeline(const Judged& pair) {
  if (!pair.flow || same_timeline(*pair.primary(), *pair.replica())) return {};
  return fmt::format("the primary is on timeline {}, the replica on timeline {}", *pair.primary()->timeline,
                     *pair.replica()->timeline);
}

Objection standby_unknown(const Judged& pair) {
  if (!pair.flow || pair.sample[pair.flow->from].state->replication_known) return {};
  return fmt::format("the {} did not tell which standbys it has", pair.from());
}

Objection no_standby(const Judged& pair) {
  if (!pair.flow || pair.standby != nullptr || standby_unknown(pair)) return {};
  if (const std::size_t possible = possible_standbys(pair.sample).size(); possible > 1) {
    return fmt::format(
        "{} rows of the {}'s pg_stat_replication could be the {}'s: give it a slot of its own (primary_slot_name)",
        possible, pair.from(), pair.to());
  }
  return fmt::format("the {} is not connected: no row in the {}'s pg_stat_replication belongs to it", pair.to(),
                     pair.from());
}

Objection not_streaming(const Judged& pair) {
  if (pair.standby == nullptr || pair.standby->state == "streaming") return {};
  if (!pair.standby->state && missing_privilege(pair)) return {};  // said already
  return fmt::format("standby {} is in state {}, required is streaming", pair.standby->name,
                     pair.standby->state.value_or("unknown"));
}

Objection lag_unknown(const Judged& pair) {
  if (!pair.flow || pair.lag.replay_bytes || system_identifier(pair) || timeline(pair)) return {};
  return fmt::format("it is not known how far the {} is behind: a WAL position is missing", pair.to());
}

/// "512 bytes", "12.3 MB".
std::string size(double bytes) {
  if (bytes < 1000) return fmt::format("{:.0f} bytes", bytes);
  constexpr std::array units{"kB", "MB", "GB", "TB"};
  std::size_t unit = 0;
  for (bytes /= 1000; bytes >= 999.95 && unit + 1 < units.size(); ++unit) bytes /= 1000;
  return fmt::format("{:.1f} {}", bytes, units.at(unit));
}

std::string speed(const Judged& pair) {
  const auto rates = pair.before ? wal_rates(*pair.before, *pair.sample.catch_up) : std::nullopt;
  if (!rates) return {};
  return fmt::format("the {} replays {}/s, the {} writes {}/s", pair.to(), size(rates->replayed), pair.from(),
                     size(rates->written));
}

/// What was there to be sent at the check before has had the time to arrive.
std::string transport(const Judged& pair) {
  const ServerState& standby = pair.standing_by();
  const auto missing = pair.before && pair.standby != nullptr
                           ? bytes_behind(std::max(standby.wal_receive, standby.wal_replay), pair.before->target)
                           : std::nullopt;
  if (!missing || *missing < pair.thresholds.bytes) return {};
  return fmt::format("{} of what the {} had at the check before have not even reached the {}: the way there is slow",
                     size(static_cast<double>(*missing)), pair.from(), pair.to());
}

std::string open_transaction(const ServerState& state) {
  if (!state.oldest_open) return "pg_stat_activity on it shows which";
  return fmt::format("the oldest transaction on it is that of process {}, open for {}", state.oldest_open->pid,
                     human(state.server_time - state.oldest_open->since));
}

/// What the startup process was seen to wait for, other than for more WAL.
std::string obstacle(const Judged& pair) {
  const std::string& waits = pair.standing_by().replay_waits_for;
  const auto begins = [&waits](std::string_view kind) { return waits.starts_with(kind); };
  if (begins("IPC/RecoveryConflict") || begins("Lock/") || begins("BufferPin/")) {
    return fmt::format("replay waits for a query on the {} to end ({}): {}", pair.to(), waits,
                       open_transaction(pair.standing_by()));
  }
  const Duration delay = pair.standing_by().recovery_min_apply_delay.value_or(Duration::zero());
  // Between two of its waits the startup process is not seen waiting. So a delay that no check can pass counts by
  // itself.
  if (begins("Timeout/RecoveryApplyDelay") || delay >= pair.thresholds.seconds) {
    return fmt::format("recovery_min_apply_delay ({} s) holds replay back", to_seconds(delay));
  }
  return {};
}

Objection lag_bytes(const Judged& pair) {
  const auto& probe = pair.sample.catch_up;
  const std::optional<std::int64_t> missing = probe ? probe->remaining : pair.lag.replay_bytes;
  if (!missing || *missing < pair.thresholds.bytes) return {};
  if (!probe) {
    return fmt::format("the {} is {} bytes behind, required is fewer than {}", pair.to(), *missing,
                       pair.thresholds.bytes);
  }
  std::string text =
      fmt::format("{} of WAL were still missing after {}", size(static_cast<double>(*missing)), human(probe->took));
  for (const std::string& cause : {speed(pair), transport(pair), obstacle(pair)}) {
    if (!cause.empty()) text += "; " + cause;
  }
  return text;
}

Objection lag_seconds(const Judged& pair) {
  const auto& probe = pair.sample.catch_up;
  const std::string required = fmt::format("required is less than {}", human(pair.thresholds.seconds));
  if (pair.lag.replay && *pair.lag.replay >= pair.thresholds.seconds) {
    return fmt::format("replay is {} behind by pg_stat_replication.replay_lag, {}", human(*pair.lag.replay), required);
  }
  if (!probe || probe->took < pair.thresholds.seconds) return {};
  return probe->remaining > 0
             ? fmt::format("the {} had not caught up after {}, {}", pair.to(), human(probe->took), required)
             : fmt::format("the {} needed {} to catch up, {}", pair.to(), human(probe->took), required);
}

Objection replay_paused(const Judged& pair) {
  if (!pair.flow || !pair.sample[pair.flow->to].state->replay_paused.value_or(false)) return {};
  return fmt::format("replay is paused on the {}: resume it with pg_wal_replay_resume()", pair.to());
}

struct Rule {
  const char* reason;
  Objection (*judge)(const Judged&);
};

constexpr std::array rules{
    Rule{"primary_unreachable", [](const Judged& pair) { return unreachable(pair.sample, Side::primary); }},
    Rule{"replica_unreachable", [](const Judged& pair) { return unreachable(pair.sample, Side::replica); }},
    Rule{"missing_privilege", missing_privilege},
    Rule{"read_only_unknown", read_only_unknown},
    Rule{"roles", roles},
    Rule{"system_identifier", system_identifier},
    Rule{"timeline", timeline},
    Rule{"standby_unknown", standby_unknown},
    Rule{"no_standby", no_standby},
    Rule{"not_streaming", not_streaming},
    Rule{"lag_unknown", lag_unknown},
    Rule{"lag_bytes", lag_bytes},
    Rule{"lag_seconds", lag_seconds},
    Rule{"replay_paused", replay_paused},
};

}  // namespace

std::optional<Flow> wal_flow(const Sample& sample) {
  const auto& primary = sample.primary.state;
  const auto& replica = sample.replica.state;
  if (!primary || !replica || primary->in_recovery == replica->in_recovery) return std::nullopt;
  return replica->in_recovery ? Flow{Side::primary, Side::replica} : Flow{Side::replica, Side::primary};
}

std::optional<Duration> known_lag(std::optional<Duration> reported, std::optional<std::int64_t> behind) {
  if (behind == 0) return Duration::zero();
  return reported;
}

PairLag pair_lag(const Sample& sample) {
  const auto flow = wal_flow(sample);
  if (!flow) return {};
  const ServerState& writer = *sample[flow->from].state;
  const ServerState& standby = *sample[flow->to].state;
  if (!same_cluster(writer, standby) || !same_timeline(writer, standby)) return {};

  PairLag lag;
  // A standby that restarted has replayed more than it has received since.
  lag.receive_bytes = bytes_behind(std::max(standby.wal_receive, standby.wal_replay), writer.wal_flush);
  lag.replay_bytes = bytes_behind(standby.wal_replay, writer.wal_flush);
  if (const Standby* const row = paired_standby(sample)) {
    lag.write = known_lag(row->write_lag, lag.receive_bytes);
    lag.flush = known_lag(row->flush_lag, lag.receive_bytes);
    lag.replay = known_lag(row->replay_lag, lag.replay_bytes);
  }
  return lag;
}

std::vector<const Standby*> possible_standbys(const Sample& sample) {
  std::vector<const Standby*> possible;
  const auto flow = wal_flow(sample);
  if (!flow) return possible;
  const ServerState& standby = *sample[flow->to].state;
  // Without pg_monitor the receiver is hidden, not missing: then its slot is not known.
  const bool hidden = !standby.receiver && !standby.full_view;
  if (!standby.receiver && !hidden) return possible;
  const std::string slot = standby.receiver ? standby.receiver->slot : "";
  for (const Standby& row : sample[flow->from].state->standbys) {
    const bool fits = slot.empty() ? row.state != "backup" && (hidden || !row.slot) : row.slot == slot;
    if (fits) possible.push_back(&row);
  }
  return possible;
}

const Standby* paired_standby(const Sample& sample) {
  const auto possible = possible_standbys(sample);
  return possible.size() == 1 ? possible.front() : nullptr;
}

std::optional<CatchUp> caught_up(const Sample& sample, const LagThresholds& thresholds) {
  const auto behind = pair_lag(sample).replay_bytes;
  if (!behind || *behind >= thresholds.bytes) return std::nullopt;
  const Flow flow = *wal_flow(sample);
  return CatchUp{.asked = sample.sampled_mono,
                 .target = *sample[flow.from].state->wal_flush,
                 .reached = *sample[flow.to].state->wal_replay};
}

std::vector<SyncReason> out_of_sync(const Sample& sample, const LagThresholds& thresholds,
                                    const std::optional<CatchUp>& before) {
  const Judged pair{sample, thresholds, before};
  std::vector<SyncReason> reasons;
  for (const Rule& rule : rules) {
    if (auto objection = rule.judge(pair)) reasons.push_back({rule.reason, std::move(*objection)});
  }
  return reasons;
}

}  // namespace pgrm
