// Until nobody writes and nothing is missing: arm_fence, stop_traffic, fence, final_verification.
#include "agent/engine/acts.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>

#include "agent/engine/alignment.h"
#include "agent/engine/marker.h"

namespace pgrm::agent {

// ---- arm_fence

std::string preview_arm_fence(Cutover& cutover) {
  return fmt::format(
      "writes the settings of the fence into the configuration of {}, "
      "to take effect with the fence",
      cutover.options.pair.old_primary.address());
}

nlohmann::json before_arm_fence(Cutover& cutover) {
  cutover.plan = plan_fence(old_admin(cutover).fence_view(cutover.options.call_deadline), cutover.options, cutover.id);
  return cutover.plan->to_json();
}

void recall_arm_fence(Cutover& cutover, const nlohmann::json& before) { cutover.plan = FencePlan::from_json(before); }

std::string run_arm_fence(Cutover& cutover) {
  leave_marker(cutover);
  old_admin(cutover).alter_system(cutover.plan->settings(), cutover.options.call_deadline);
  return "in the configuration, not in effect yet";
}

/// What undo_fence has done already when there was a fence.
void undo_arm_fence(Cutover& cutover, const nlohmann::json& /*before*/) {
  disarm_fence(cutover.servers.old_primary, *cutover.plan, undo_deadline(cutover));
}

// ---- the write pause

/// nullopt: there is no budget to keep.
static std::optional<Duration> pause_so_far(const Cutover& cutover) {
  if (!cutover.writes_stopped || cutover.recovering) return std::nullopt;
  return cutover.clock.now() - *cutover.writes_stopped;
}

Duration left_of_pause(const Cutover& cutover) {
  const Options& options = cutover.options;
  const auto stood = pause_so_far(cutover);
  if (!stood) return options.drain_timeout;
  if (*stood < options.max_write_pause) return options.max_write_pause - *stood;
  throw Error(ErrorCode::pause_exceeded,
              fmt::format("writes were stopped for {}, allowed: {}", human(*stood), human(options.max_write_pause)));
}

Duration call_deadline(const Cutover& cutover) {
  const Options& options = cutover.options;
  const auto stood = pause_so_far(cutover);
  if (!stood) return options.call_deadline;
  const Duration shortest = std::min<Duration>(shortest_call, options.call_deadline);
  return std::clamp<Duration>(options.max_write_pause - *stood, shortest, options.call_deadline);
}

bool application_waits(const Cutover& cutover) { return pause_so_far(cutover).has_value() && !cutover.writes_resumed; }

static constexpr Duration undo_allowance = std::chrono::seconds(1);  // after the budget

static Duration left_for_undo(const Cutover& cutover) {
  return cutover.options.max_write_pause + undo_allowance - *pause_so_far(cutover);
}

Duration undo_deadline(const Cutover& cutover) {
  const Options& options = cutover.options;
  if (!application_waits(cutover)) return options.call_deadline;
  const Duration half = left_for_undo(cutover) / 2;  // one server that hangs leaves something for the next question
  return std::min<Duration>(options.call_deadline, std::clamp<Duration>(half, shortest_call, undo_allowance));
}

Duration patience_with_unseen(const Cutover& cutover) {
  const Options& options = cutover.options;
  if (!application_waits(cutover)) return options.blind_patience;
  const Duration spare = left_for_undo(cutover) - undo_allowance / 2;
  return std::min(options.blind_patience, std::clamp<Duration>(spare, Duration::zero(), undo_allowance));
}

// ---- stop_traffic

std::string preview_stop_traffic(Cutover& cutover) {
  std::vector<std::string> names;
  for (const auto& driver : cutover.traffic) names.push_back(driver->name());
  if (names.empty()) return "nobody is told: the fence ends the application's sessions";
  return fmt::format("pauses {}", fmt::join(names, ", "));
}

std::string run_stop_traffic(Cutover& cutover) {
  if (!cutover.recovering) cutover.writes_stopped = cutover.clock.now();  // a recovery has not stopped them itself
  for (const auto& driver : cutover.traffic) driver->stop(left_of_pause(cutover));
  return cutover.traffic.empty() ? "nobody to tell" : "nothing in flight";
}

std::string resumed(Cutover& cutover, const Traffic& driver, const std::function<void()>& order) {
  try {
    order();
    return {};
  } catch (const std::exception& failure) {
    cutover.warnings.push_back(fmt::format("{} was not resumed: {}", driver.name(), failure.what()));
    const auto* const error = dynamic_cast<const Error*>(&failure);
    if (error != nullptr && error->code() == ErrorCode::unreachable) return {};
    return fmt::format("{}: {}", driver.name(), failure.what());
  }
}

void undo_stop_traffic(Cutover& cutover, const nlohmann::json& /*before*/) {
  // All at once, because one that hangs must not hold up the others.
  std::vector<std::future<void>> orders;
  for (const auto& driver : cutover.traffic) {
    orders.push_back(std::async(driver->beside(),
                                [&driver, budget = cutover.options.drain_timeout] { driver->resume_on_old(budget); }));
  }
  std::string paused;
  for (std::size_t i = 0; i < orders.size(); ++i) {
    add_trouble(paused, resumed(cutover, *cutover.traffic[i], [&] { orders[i].get(); }));
  }
  cutover.writes_resumed = cutover.clock.now();
  if (!paused.empty()) {
    throw Error(ErrorCode::undecided, "the application was not resumed: " + paused, "agent recover tries again");
  }
}

// ---- fence

std::string preview_fence(Cutover& cutover) {
  const Duration deadline = cutover.options.call_deadline;
  const FenceView view = old_admin(cutover).fence_view(deadline);
  const FencePlan plan = plan_fence(view, cutover.options, cutover.id);
  const auto sessions = old_admin(cutover).client_sessions(deadline);
  std::string text = fmt::format("makes {} read-only, ends {} client sessions",
                                 cutover.options.pair.old_primary.address(), sessions.size());
  if (!plan.databases.empty()) text += fmt::format(", closes {}", fmt::join(plan.databases, ", "));
  if (!plan.subscriptions.empty()) text += fmt::format(", disables {}", fmt::join(plan.subscriptions, ", "));
  return text;
}

/// The insert position runs ahead of the flush position by the header of a page that nothing has been written to yet
/// (XLogBytePosToRecPtr); any other difference is WAL that is not on disk and so not sent either.
static bool all_flushed(const WalEnd& end) {
  constexpr std::uint64_t page = 8192;
  constexpr std::int64_t longest_header = 40;
  const std::int64_t ahead = distance(end.flush, end.insert);
  return ahead == 0 || (end.flush.bytes() % page == 0 && ahead > 0 && ahead <= longest_header);
}

/// Brings what is written to disk, and so on its way to the replica. Returns where it ends.
static WalEnd flush(Cutover& cutover) {
  const WalEnd end = old_admin(cutover).wal_end(call_deadline(cutover));
  if (all_flushed(end)) return end;
  old_admin(cutover).flush_wal(call_deadline(cutover));
  return old_admin(cutover).wal_end(call_deadline(cutover));
}

/// Nothing rests on it: without it the promotion copies a segment.
static bool try_to_end_segment(Cutover& cutover) {
  try {
    return end_segment(cutover);
  } catch (const Error& error) {
    cutover.warnings.push_back(fmt::format("the promotion copies a WAL segment: {}", error.what()));
    return false;
  }
}

std::string run_fence(Cutover& cutover) {
  const bool paused =
      std::ranges::any_of(cutover.traffic, [](const auto& driver) { return driver->holds_application(); });
  // The other half is for the proof, or for the way back.
  const Duration budget = left_of_pause(cutover) / 2;
  cutover.fence = raise_fence(cutover.servers.old_primary, *cutover.plan, paused, cutover.clock, budget);
  // Nobody is left to write: the last of the WAL travels while the fence is proved.
  if (!try_to_end_segment(cutover)) flush(cutover);
  // First, because a hook may take its time, and may touch what the fence is made of.
  for (const auto& driver : cutover.traffic) driver->after_fence(left_of_pause(cutover));
  cutover.replica_accepts = new_admin(cutover).accepts_connections(call_deadline(cutover));
  prove_layers(cutover.servers.old_primary, *cutover.plan, cutover.id, call_deadline(cutover));
  return fmt::format("{}, {} sessions ended, a write over an open one refused", to_string(cutover.plan->form),
                     cutover.fence->sessions_ended);
}

void raise_fence_again(Cutover& cutover) {
  Server& old = cutover.servers.old_primary;
  const Duration deadline = cutover.options.call_deadline;
  old.admin->alter_system(cutover.plan->settings(), deadline);
  cutover.fence = raise_fence(old, *cutover.plan, true, cutover.clock, cutover.options.drain_timeout);
  prove_layers(old, *cutover.plan, cutover.id, deadline);
  require_repulsed(*cutover.fence, *cutover.plan);
}

void undo_fence(Cutover& cutover, const nlohmann::json& /*before*/) {
  lift_fence(cutover.servers.old_primary, *cutover.plan, cutover.clock, undo_deadline(cutover));
}

// ---- final_verification

std::string preview_final_verification(Cutover& cutover) {
  const Duration deadline = cutover.options.call_deadline;
  // The replica first, so that the difference can only look larger.
  const auto replayed = new_admin(cutover).wal_replayed(deadline);
  const WalEnd end = old_admin(cutover).wal_end(deadline);
  const auto behind = replayed ? std::max<std::int64_t>(0, distance(*replayed, end.flush)) : -1;
  return fmt::format("proves that the replica has replayed everything ({} now)",
                     behind < 0 ? "nothing replayed" : fmt::format("{} bytes behind", behind));
}

/// For a message; empty when it cannot be asked now.
static std::string name_of_oldest_transaction(Cutover& cutover) {
  try {
    const auto oldest = old_admin(cutover).oldest_transaction(std::nullopt, shortest_call);
    return oldest ? oldest->who : "";
  } catch (const Error&) {
    return {};
  }
}

/// Where the WAL ends once no client's transaction is open any more: all that any client was told is committed lies
/// before it, and on disk. What autovacuum or another worker of the server writes later is nobody's commit.
static WalEnd end_of_clients(Cutover& cutover) {
  WalEnd end{Lsn(0), Lsn(0), 0, false};
  const auto at_rest = [&] {
    const WalEnd asked = old_admin(cutover).wal_end(call_deadline(cutover));
    end = asked;
    if (!asked.idle || all_flushed(asked)) return asked.idle;
    old_admin(cutover).flush_wal(call_deadline(cutover));
    end = old_admin(cutover).wal_end(call_deadline(cutover));
    return end.idle && (end.flush >= asked.insert || all_flushed(end));
  };
  if (waited(cutover, left_of_pause(cutover), tick, at_rest)) return end;
  const std::string open = end.idle ? "" : name_of_oldest_transaction(cutover);
  throw Error(
      ErrorCode::timeout,
      end.idle
          ? fmt::format("WAL up to {} is not on disk, flushed is {}", end.insert.to_string(), end.flush.to_string())
          : "a client's transaction is still open on the primary, behind the fence" + (open.empty() ? "" : ": " + open),
      "select * from pg_prepared_xacts; select * from pg_stat_activity where backend_xid is not null on the "
      "primary");
}

namespace {

/// What the order to promote rests on, asked of both servers at the same time.
struct LastQuestions {
  explicit LastQuestions(Cutover& cutover)
      : replayed(std::async(new_admin(cutover).beside(),
                            [&replica = new_admin(cutover), deadline = call_deadline(cutover)] {
                              return replica.wal_replayed(deadline);
                            })),
        lock(prove_lock(cutover)) {}

  std::future<std::optional<Lsn>> replayed;
  std::future<void> lock;
};

}  // namespace

std::string run_final_verification(Cutover& cutover) {
  // Nearly always the replica has everything while the old primary is still asked where everything ends.
  std::optional<LastQuestions> asked(std::in_place, cutover);
  const Mono asked_at = cutover.clock.now();
  const WalEnd end = end_of_clients(cutover);
  if (cutover.clock.now() - asked_at > std::chrono::milliseconds(100)) asked.reset();  // a proof of the lock is of now
  std::optional<Lsn> replayed;
  const bool equal = waited(cutover, left_of_pause(cutover), tick, [&] {
    if (!asked) asked.emplace(cutover);
    replayed = asked->replayed.get();
    asked->lock.get();
    asked.reset();
    if (replayed) {
      cutover.progress.lag().add(cutover.clock.now(), std::max<std::int64_t>(0, distance(*replayed, end.flush)));
      if (*replayed >= end.flush) return true;
    }
    // An order that a dead agent gave may be carried out now: then there is nothing to wait for.
    if (cutover.recovering && !new_admin(cutover).in_recovery(call_deadline(cutover))) {
      throw Error(ErrorCode::proof_failed, "the replica has been promoted meanwhile");
    }
    return false;
  });
  if (!equal) {
    throw Error(ErrorCode::timeout,
                fmt::format("the replica has not replayed all: required {}, reached {}", end.flush.to_string(),
                            replayed ? replayed->to_string() : "nothing"),
                "look at the replica's log and at what it replays");
  }
  if (!cutover.replica_accepts.get()) {
    throw Error(ErrorCode::unreachable, "the replica does not accept connections any more: nothing was ordered yet");
  }
  if (cutover.fence) require_repulsed(*cutover.fence, *cutover.plan);
  left_of_pause(cutover);  // whatever of the above took its time: an order that comes too late is not given
  cutover.fenced_end = end;
  cutover.proved_at = cutover.clock.now();
  return fmt::format("0 bytes behind at {}, a write over a new connection refused", end.flush.to_string());
}

}  // namespace pgrm::agent
