// What the application reads, beside its writes: a table of queries, keys of which a few are asked for most of the
// time, and a thread's worth of them.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "core/base/clock.h"
#include "loadgen/client.h"
#include "loadgen/histogram.h"
#include "loadgen/pacer.h"
#include "loadgen/random.h"
#include "loadgen/writable_session.h"

namespace pgrm::loadgen {

enum class ReadKind : std::uint8_t { lookup, join };
inline constexpr std::array<std::string_view, 2> read_kind_names{"lookup", "join"};

/// One query of one parameter: a position, see popular_position().
struct Read {
  ReadKind kind;
  int share;  // weight among all of them
  Statement statement;
};
extern const std::array<Read, 3> read_table;

/// A position in [0, 1) of the ids that there are, as text. Some are asked for far more often than others: the n-th
/// most popular one about 1/n times as often as the first (Zipf), and they lie scattered, as popular rows do.
std::string popular_position(Random& random);

/// Sums since the start of the run.
struct ReadTotals {
  std::array<Histogram, read_kind_names.size()> latency;  // from when it was due, of reads that were answered
  std::uint64_t failed = 0;  // attempts that were refused, or that found or lost no connection

  std::uint64_t count() const;
  Histogram all_latencies() const;
  /// What was added since `earlier`, an older copy of these totals.
  ReadTotals since(const ReadTotals& earlier) const;
};

/// Thread-safe.
class ReadStats {
 public:
  void answered(ReadKind kind, Mono due, Mono now);
  void failed();
  ReadTotals totals() const;

  /// From now on reads that are due later are counted apart as well.
  void begin_window(Mono now);
  struct Window {
    Mono began;
    ReadTotals totals;
  };
  /// nullopt: none was begun.
  std::optional<Window> window() const;

 private:
  mutable std::mutex mutex_;
  ReadTotals totals_;
  std::optional<Window> window_;
};

/// What all readers of a run share. Everything outlives them.
struct SharedReads {
  const Clock& clock;
  Pacer& pacer;
  ReadStats& stats;
  Complaints& complaints;
  std::uint64_t seed;
};

/// A connection that follows the server that takes writes. One thread at a time.
class Reader {
 public:
  Reader(SharedReads& shared, const Pair& pair, std::uint64_t id);
  /// Reads until the pacer ends. A read that cannot be answered is tried again until it is. `stop` cuts waits short.
  void run(const std::stop_token& stop);

 private:
  bool answered(const Read& read, const Params& params);

  SharedReads& shared_;
  WritableSession session_;
  Backoff backoff_;
};

}  // namespace pgrm::loadgen
