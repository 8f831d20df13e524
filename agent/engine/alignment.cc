#include "agent/engine/alignment.h"

#include <fmt/format.h>

#include <algorithm>

#include "agent/engine/acts.h"

namespace pgrm::agent {
namespace {

/// What may be left of a segment for it to be given up: the zeros have to travel.
constexpr std::int64_t worth_giving_up(std::int64_t segment) { return segment / 8; }

std::string why_not(const Cutover& cutover) {
  return cutover.wal_segment == 0 ? "the promotion copies the last WAL segment" : "left as it is";
}

/// Bytes of WAL a second that the application has written since the preparation began.
double rate_of_the_application(Cutover& cutover) {
  const Lsn now = old_admin(cutover).wal_end(cutover.options.call_deadline).insert;
  const double elapsed = std::max(to_seconds(cutover.clock.now() - cutover.prepared_at), 0.001);
  return static_cast<double>(distance(cutover.prepared_from, now)) / elapsed;
}

/// What the application is going to write in so many seconds.
std::int64_t room_for(double rate, double seconds, std::int64_t segment) {
  return std::clamp(static_cast<std::int64_t>(rate * seconds), segment / 64, worth_giving_up(segment));
}

/// Fills the segment until `room` is left. Returns how much that took.
std::int64_t fill(Cutover& cutover, std::int64_t room) {
  const Duration deadline = cutover.options.call_deadline;
  const Lsn end = old_admin(cutover).wal_end(deadline).insert;
  const std::int64_t bytes = std::max<std::int64_t>(0, left_in_segment(end, cutover.wal_segment) - room);
  if (bytes > 0) old_admin(cutover).fill_wal(bytes, deadline);
  return bytes;
}

/// Flushes what was filled, and waits until the replica has it. Returns where it ends.
Lsn settle(Cutover& cutover) {
  const Duration deadline = cutover.options.call_deadline;
  old_admin(cutover).flush_wal(deadline);
  const Lsn end = old_admin(cutover).wal_end(deadline).flush;
  std::optional<Lsn> replayed;
  const auto there = [&] {
    replayed = new_admin(cutover).wal_replayed(deadline);
    return replayed && *replayed >= end;
  };
  if (waited(cutover, cutover.options.sync_timeout, std::chrono::milliseconds(5), there)) return end;
  throw Error(ErrorCode::timeout, fmt::format("the replica has not replayed {} within {}", end.to_string(),
                                              human(cutover.options.sync_timeout)));
}

}  // namespace

std::string preview_align_wal(Cutover& cutover) {
  if (cutover.wal_segment == 0) return why_not(cutover);
  const Lsn end = old_admin(cutover).wal_end(cutover.options.call_deadline).insert;
  return fmt::format("writes up to {:.1f} MB of WAL that say nothing, so that the promotion need not copy a segment",
                     static_cast<double>(left_in_segment(end, cutover.wal_segment)) / 1e6);
}

static std::string align(Cutover& cutover) {
  const double rate = rate_of_the_application(cutover);
  std::int64_t filled = 0;
  Lsn end(0);
  // The application goes on writing while that travels, and may get as far as the next segment. What is left in the
  // end travels as zeros while nobody writes: as little as the next few orders leave time for.
  for (const double seconds : {0.25, 0.1}) {
    const std::int64_t most = fill(cutover, cutover.wal_segment / 5);
    // The old primary's first write behind the fence would have to wait for the next segment. Where no
    // recycled segment is there, a checkpoint near the end of a segment makes one (PreallocXlogFiles).
    if ((most > 0 || filled == 0) && !old_admin(cutover).has_next_segment(cutover.options.call_deadline)) {
      old_admin(cutover).checkpoint(cutover.options.checkpoint_deadline);
    }
    filled += most + fill(cutover, room_for(rate, seconds, cutover.wal_segment));
    end = settle(cutover);
  }
  return fmt::format("{:.1f} MB of WAL written, {} kB left in the segment", static_cast<double>(filled) / 1e6,
                     left_in_segment(end, cutover.wal_segment) / 1000);
}

std::string run_align_wal(Cutover& cutover) {
  // A new agent finds writes stopped: too late to prepare for that.
  if (cutover.wal_segment == 0 || cutover.recovering) return why_not(cutover);
  try {
    return align(cutover);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::undone) throw;
    cutover.wal_segment = 0;  // nothing depends on it
    cutover.warnings.push_back(fmt::format("the WAL was not aligned: {}", error.what()));
    return "not aligned, the promotion copies a WAL segment: " + std::string(error.what());
  }
}

bool end_segment(Cutover& cutover) {
  if (cutover.wal_segment == 0) return false;
  return old_admin(cutover).switch_wal(worth_giving_up(cutover.wal_segment), call_deadline(cutover));
}

}  // namespace pgrm::agent
