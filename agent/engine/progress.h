// Where a cutover stands at this moment: the engine tells it, the terminal, /metrics and the report read it.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/checks/checks.h"
#include "agent/compare/watch.h"
#include "core/base/clock.h"
#include "core/pg/node.h"

namespace pgrm::agent {

/// After the last step, with --watch-after: it is no step, and changes nothing.
inline constexpr std::string_view watch_phase = "watch";

/// A step that has begun, in the order of beginning; one that is undone stands there a second time.
struct StepStanding {
  std::string name;
  std::string result;  // empty while it runs, else as in StepRecord
  std::string text;    // why it is taken, then what it waits for, then its evidence
  Mono began{};
  Duration took{};  // once it has a result
};

/// How many bytes the replica had not replayed, over time. Thread-safe.
class LagHistory {
 public:
  struct Point {
    Mono at;
    std::int64_t bytes;
  };
  /// Keeps the shape of the curve in bounded memory: when it is full, of two neighbours the smaller one goes.
  void add(Mono at, std::int64_t bytes);
  std::vector<Point> points() const;

 private:
  mutable std::mutex mutex_;
  std::vector<Point> points_;
};

struct Standing {
  std::string phase;  // a step's name, "undo", "watch", "done" or "failed"; empty before the first step
  WallTime phase_since{};
  WallTime began{};
  Mono began_mono{};
  std::vector<StepStanding> steps;
  std::vector<Finding> findings;                       // empty before the preflight has judged
  std::optional<Mono> writes_stopped, writes_resumed;  // by the agent
  bool promoted = false;
  std::vector<Writer> left_behind;      // on the old primary, in the end
  std::optional<int> exit_code;         // once it has ended
  std::optional<WatchedSoFar> watched;  // on the new primary, with --watch-after
};

/// Prints one line a step to `out`; on a terminal the running step's line is alive and shows what is waited for. Silent
/// when `out` is nullptr, or while somebody else draws. Thread-safe for readers: one thread tells, any may ask.
class Progress {
 public:
  Progress(std::ostream* out, bool terminal, bool colour, const Clock& clock = system_clock());

  // What the engine tells.

  /// `phase`: the step's name unless given.
  void begins(std::string_view step, std::string_view why, std::string_view phase = {});
  /// The running step waits for `what`; prints only what has changed.
  void waits(const std::string& what);
  void ends(std::string_view result, Duration took, const std::string& evidence);
  /// A line of its own between steps.
  void says(const std::string& text);
  void checked(const std::vector<Finding>& findings);
  void writes(std::optional<Mono> stopped, std::optional<Mono> resumed);
  void promoted();
  void left_behind(const std::vector<Writer>& sessions);
  void watched(const WatchedSoFar& so_far);
  LagHistory& lag() { return lag_; }
  void concluded(int exit_code);

  // What others may ask.

  Standing standing() const;
  const LagHistory& lag() const { return lag_; }

  /// While true another object draws the steps, from standing().
  void yield_terminal(bool yielded) { yielded_ = yielded; }

 private:
  void print(const std::string& line, bool stays);

  std::ostream* out_;
  bool terminal_, colour_;
  const Clock& clock_;
  bool line_open_ = false;
  bool yielded_ = false;
  std::string last_wait_;

  mutable std::mutex mutex_;  // guards standing_
  Standing standing_;
  LagHistory lag_;
};

/// Writes are about to be stopped, or are, and were not resumed since: nothing may take time from what is going on.
bool on_critical_path(const Standing& standing);

/// "ok", "FAILED", "undone", "would", ".." and the colour (SGR code) of a step's result.
struct Mark {
  std::string_view result, mark, colour;
};
const Mark& mark_of(std::string_view result);

/// One step as a line: name, time, text; with its mark before it.
std::string step_text(const StepStanding& step, Mono now);
std::string step_line(const StepStanding& step, Mono now, bool colour);

}  // namespace pgrm::agent
