// Brings the end of the old primary's WAL to the end of a segment, so that the promotion has none to copy.
//
// A standby that leaves recovery in the middle of a WAL segment copies that segment to its new timeline, all of it
// (16 MB, or what initdb --wal-segsize said), and waits until the copy is on disk (XLogInitNewTimeline, XLogFileCopy):
// most of what a promotion takes, and writes wait for it. When the last record ends a segment there is nothing to copy:
//   before writes are stopped  most of the present segment is filled with messages that nobody reads
//   behind the fence           the little that is left of it is given up (pg_switch_wal), and sent as zeros
// Nothing rests on it: without the rights, or when the segment has ended meanwhile, the promotion copies.
#pragma once

#include <cstdint>
#include <string>

#include "core/pg/lsn.h"

namespace pgrm::agent {

struct Cutover;

/// How much of its segment is left behind `at`: 0 at a boundary.
constexpr std::int64_t left_in_segment(Lsn at, std::int64_t segment) {
  const auto used = static_cast<std::int64_t>(at.bytes() % static_cast<std::uint64_t>(segment));
  return used == 0 ? 0 : segment - used;
}

// The step align_wal, see steps.h.
std::string preview_align_wal(Cutover& cutover);
std::string run_align_wal(Cutover& cutover);

/// On the fenced old primary: gives up the rest of the segment when there is little of it. Returns whether it did; then
/// everything is flushed, too. Throws what Node throws.
bool end_segment(Cutover& cutover);

}  // namespace pgrm::agent
