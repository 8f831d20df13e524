// What happened to the operations: counts, latencies, refusals, and how long nobody could write.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/clock.h"
#include "loadgen/histogram.h"
#include "loadgen/workload.h"

namespace pgrm::loadgen {

/// How an operation ended.
enum class Result : std::uint8_t {
  acknowledged,  // the server said that it is committed
  failed,        // certainly not committed: the server refused it, or it was never sent
  in_doubt,      // sent, and no answer came: committed or not
};
inline constexpr std::array<std::string_view, 3> result_names{"acknowledged", "failed", "in_doubt"};
inline constexpr std::size_t result_count = result_names.size();
constexpr std::size_t index_of(Result result) { return static_cast<std::size_t>(result); }

struct Outcome {
  std::uint64_t number = 0;   // of the operation in its run
  std::size_t operation = 0;  // index into operations
  std::size_t client = 0;     // who carried it out
  Result result = Result::failed;
  Duration latency{};      // from when it was due
  std::string sqlstate{};  // why it failed; empty: it was never sent
};

/// Classes of SQLSTATE (PostgreSQL, appendix A) that refusals are counted by.
inline constexpr std::array<std::string_view, 9> sqlstate_classes{
    "08",  // no connection: unreachable, lost, no answer in time
    "22",  // data exception
    "23",  // integrity constraint violation
    "25",  // invalid transaction state: read-only
    "40",  // transaction rollback: serialization, deadlock
    "53",  // insufficient resources: disk full, too many connections
    "55",  // object not in prerequisite state: lock not available, database closed
    "57",  // operator intervention: cancelled, terminated
    "other",
};
/// Index of the class of `sqlstate`; of "other" when it has no row.
std::size_t sqlstate_class(std::string_view sqlstate);

/// Sums since the start of the run.
struct Totals {
  std::array<std::array<std::uint64_t, result_count>, std::tuple_size_v<decltype(operations)>> outcomes{};
  std::array<std::array<std::uint64_t, sqlstate_classes.size()>, kind_count> refusals{};
  std::uint64_t connections_opened = 0;
  std::array<Histogram, kind_count> latency;  // of acknowledged operations

  std::uint64_t count(Result result) const;
  std::uint64_t count(Kind kind, Result result) const;
  std::uint64_t refused() const;
  Histogram all_latencies() const;
  /// What was added since `earlier`, an older copy of these totals.
  Totals since(const Totals& earlier) const;
};

/// Thread-safe.
class Stats {
 public:
  explicit Stats(std::size_t clients = 1) : by_client_(clients) {}
  /// REQUIRES: their clients are below the number that there are.
  void add(std::span<const Outcome> outcomes);
  /// An attempt that was refused or that lost its connection; the operation itself may go on to a better end.
  void refused(Kind kind, std::string_view sqlstate);
  void connected();
  Totals totals() const;
  /// Latencies of the acknowledged operations of each client: a straggler does not show in those of all.
  std::vector<Histogram> by_client() const;

 private:
  mutable std::mutex mutex_;
  Totals totals_;
  std::vector<Histogram> by_client_;
};

/// The longest time between two consecutive acknowledged commits of all clients together. Thread-safe.
class WriteGap {
 public:
  enum class Window : std::uint8_t { run, report, pause };  // since the start, the last report, the last pause

  explicit WriteGap(const Clock& clock) : clock_(clock) {}

  struct Gap {
    Duration length{};
    WallTime began{};   // of the last commit before it
    bool open = false;  // it goes on: no commit has ended it yet
  };

  /// A commit was acknowledged: just now, for the order of commits is the order of these calls.
  Mono commit();
  /// The longest gap of the window, counting the one that is still open; nullopt before the first commit.
  std::optional<Gap> longest(Window window) const;
  /// Begins the window anew. A gap that is open belongs to it in full.
  void restart(Window window);

 private:
  struct Closed {
    Duration length{};
    Mono began{};
  };

  const Clock& clock_;
  mutable std::mutex mutex_;
  std::optional<Mono> last_;
  std::array<Closed, 3> longest_{};
};

}  // namespace pgrm::loadgen
