// A healthy pair as one round of observation sees it; tests change what they are about.
#pragma once

#include <cstdint>

#include "core/replication/lag.h"

namespace pgrm::fakes {

inline constexpr Lsn here{0x3000148};
inline constexpr auto slot_name = "replica_slot";

inline Statistics statistics() {
  return {.connections = {{"active", 2},
                          {"idle", 4},
                          {"idle in transaction", 1},
                          {"idle in transaction (aborted)", 0},
                          {"other", 0}},
          .prepared_transactions = 0,
          .oldest_transaction = from_unix(1'699'999'990),
          .oldest_idle_in_transaction = from_unix(1'699'999'995),
          .accepting_connections = true,
          .wal_records = 1000,
          .wal_fpi = 10,
          .wal_bytes = 100'000,
          .archived_segments = 5,
          .failed_segments = 0,
          .last_archived = from_unix(1'699'999'000),
          .last_failed = std::nullopt,
          .archive_ready_segments = 0,
          .checkpoints_timed = 7,
          .checkpoints_requested = 2,
          .restartpoints = std::nullopt,
          .checkpoint_write = std::chrono::milliseconds(1500),
          .checkpoint_sync = std::chrono::milliseconds(20),
          .recovery_conflicts = {{"tablespace", 0}, {"lock", 0}, {"snapshot", 0}, {"bufferpin", 0}, {"deadlock", 0}},
          .upkeep = {.xid_age = 1000, .multixact_age = 1, .wal_directory_bytes = 32 << 20, .armed = std::nullopt}};
}

inline ServerState server_state() {
  ServerState state;
  state.version = 150004;
  state.system_identifier = "7300000000000000001";
  state.timeline = 1;
  state.full_view = true;
  state.server_time = from_unix(1'700'000'000);
  state.started_at = from_unix(1'699'990'000);
  state.connections = 7;
  state.connections_limit = 100;
  state.statistics = statistics();
  for (const char* const name : {"server", "replication", "statistics", "upkeep"}) {
    state.collectors.push_back({name, std::chrono::microseconds(700), {}});
  }
  return state;
}

/// Streaming and caught up; idle, hence without lag times.
inline Standby standby_row(const std::string& application_name, const std::optional<std::string>& slot) {
  Standby row;
  row.name = slot.value_or(application_name);
  row.application_name = application_name;
  row.slot = slot;
  row.state = "streaming";
  row.sync_state = "async";
  row.sent = row.write = row.flush = row.replay = here;
  row.reply_time = from_unix(1'700'000'000);
  row.xmin_age = 3;
  return row;
}

inline Slot slot_row(const std::string& name) {
  return {.name = name,
          .type = "physical",
          .active = true,
          .restart = here,
          .confirmed_flush = std::nullopt,
          .wal_status = "reserved",
          .safe_wal_bytes = 1 << 30,
          .invalidated = false,
          .inactive_since = std::nullopt};
}

inline WalReceiver receiver_row() {
  return {.status = "streaming",
          .slot = slot_name,
          .sender_host = "db1",
          .sender_port = 5432,
          .written = here,
          .flushed = here,
          .latest_end = here,
          .last_message_sent = from_unix(1'700'000'000),
          .last_message_received = from_unix(1'700'000'000)};
}

inline ServerState primary_state() {
  ServerState state = server_state();
  state.wal_insert = state.wal_write = state.wal_flush = here;
  state.standbys = {standby_row("replica", slot_name)};
  state.slots = {slot_row(slot_name)};
  return state;
}

inline ServerState replica_state() {
  ServerState state = server_state();
  state.in_recovery = true;
  state.wal_receive = state.wal_replay = here;
  state.last_replayed_commit = from_unix(1'699'999'000);
  state.replay_paused = false;
  state.recovery_min_apply_delay = Duration::zero();
  state.receiver_timeout = std::chrono::seconds(60);
  state.receiver = receiver_row();
  return state;
}

/// The replica after its promotion.
inline ServerState promoted_state() {
  ServerState state = server_state();
  state.timeline = 2;
  state.wal_insert = state.wal_write = state.wal_flush = Lsn(here.bytes() + 4096);
  return state;
}

/// The primary after the cutover: still out of recovery, read-only, with nobody connected to it.
inline ServerState former_primary_state() {
  ServerState state = primary_state();
  state.default_read_only = true;
  state.standbys.clear();
  state.slots.front().active = false;
  return state;
}

inline ServerSample seen(const std::string& address, const ServerState& state) {
  return {.state = state, .address = address, .error = {}, .error_name = {}, .took = std::chrono::milliseconds(2)};
}

inline ServerSample unseen(const std::string& address) {
  return {.state = std::nullopt,
          .address = address,
          .error = "connection refused",
          .error_name = "unreachable",
          .took = std::chrono::milliseconds(2)};
}

inline Sample pair_sample(const ServerState& primary = primary_state(), const ServerState& replica = replica_state()) {
  Sample sample;
  sample.generation = 1;
  sample.sampled_at = from_unix(1'700'000'000);
  sample.sampled_mono = Mono{} + std::chrono::hours(1);
  sample.took = std::chrono::milliseconds(4);
  sample.primary = seen("db1:5432", primary);
  sample.replica = seen("db2:5432", replica);
  sample.replica.state->started_at += std::chrono::minutes(1);  // two servers
  for (ServerSample* const node : {&sample.primary, &sample.replica}) {
    node->began_at = sample.sampled_at;
    node->began_mono = sample.sampled_mono;
  }
  sample.catch_up = caught_up(sample, {});
  return sample;
}

/// The probe found `bytes` missing after `took`.
inline void fall_behind(Sample& sample, std::int64_t bytes, Duration took = std::chrono::seconds(1)) {
  const Lsn target(here.bytes() + static_cast<std::uint64_t>(bytes));
  sample.primary.state->wal_flush = target;
  sample.catch_up =
      CatchUp{.asked = sample.sampled_mono, .target = target, .reached = here, .took = took, .remaining = bytes};
}

/// What the cutover leaves behind.
inline Sample sample_after_cutover() { return pair_sample(former_primary_state(), promoted_state()); }

/// `sample` as the round `duration` later sees the same.
inline Sample later(Sample sample, Duration duration) {
  ++sample.generation;
  sample.sampled_at += std::chrono::duration_cast<WallTime::duration>(duration);
  sample.sampled_mono += duration;
  for (ServerSample* const node : {&sample.primary, &sample.replica}) {
    node->began_at = sample.sampled_at;
    node->began_mono = sample.sampled_mono;
  }
  return sample;
}

}  // namespace pgrm::fakes
