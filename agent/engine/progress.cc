#include "agent/engine/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <ostream>
#include <utility>

#include "agent/engine/steps.h"
#include "core/base/printable.h"

namespace pgrm::agent {
namespace {

constexpr std::array marks{
    Mark{"done", "ok", "32"},
    Mark{"failed", "FAILED", "31"},
    Mark{"undone", "undone", "33"},
    Mark{"looked", "would", "36"},
    Mark{"", "..", "2"},
};

}  // namespace

const Mark& mark_of(std::string_view result) {
  for (const Mark& mark : marks) {
    if (mark.result == result) return mark;
  }
  return marks.back();
}

bool on_critical_path(const Standing& standing) {
  if (standing.writes_resumed || standing.exit_code || standing.steps.empty()) return false;
  const auto place_of = [](std::string_view name) { return std::ranges::find(steps(), name, &Step::name); };
  const auto now = place_of(standing.steps.back().name);
  return now != steps().end() && now >= place_of("arm_fence");
}

std::string step_text(const StepStanding& step, Mono now) {
  const bool instant = step.result == "looked";
  const std::string time = instant ? "" : human(step.result.empty() ? now - step.began : step.took);
  return fmt::format("{:<18} {:>10}  {}", step.name, time, step.text);
}

std::string step_line(const StepStanding& step, Mono now, bool colour) {
  const Mark& mark = mark_of(step.result);
  std::string shown = fmt::format("{:<8}", mark.mark);
  if (colour) shown = fmt::format("\033[{}m{}\033[0m", mark.colour, shown);
  return fmt::format("  {} {}", shown, printable(step_text(step, now)));
}

void LagHistory::add(Mono at, std::int64_t bytes) {
  constexpr std::size_t most = 4000;
  const std::scoped_lock lock(mutex_);
  points_.push_back({at, bytes});
  if (points_.size() < most) return;
  std::vector<Point> kept;
  for (std::size_t i = 0; i + 1 < points_.size(); i += 2) {
    kept.push_back(points_[i].bytes > points_[i + 1].bytes ? points_[i] : points_[i + 1]);
  }
  points_ = std::move(kept);
}

std::vector<LagHistory::Point> LagHistory::points() const {
  const std::scoped_lock lock(mutex_);
  return points_;
}

Progress::Progress(std::ostream* out, bool terminal, bool colour, const Clock& clock)
    : out_(out), terminal_(terminal), colour_(colour), clock_(clock) {
  standing_.began = clock.wall();
  standing_.began_mono = clock.now();
}

void Progress::print(const std::string& line, bool stays) {
  if (out_ == nullptr || yielded_) return;
  if (terminal_) *out_ << "\r\033[K";
  *out_ << line;
  if (stays || !terminal_) *out_ << '\n';
  *out_ << std::flush;
  line_open_ = terminal_ && !stays;
}

void Progress::begins(std::string_view step, std::string_view why, std::string_view phase) {
  StepStanding begun{std::string(step), {}, std::string(why), clock_.now(), {}};
  last_wait_.clear();
  if (terminal_) print(step_line(begun, begun.began, colour_), false);
  const std::scoped_lock lock(mutex_);
  standing_.phase = phase.empty() ? step : phase;
  standing_.phase_since = clock_.wall();
  standing_.steps.push_back(std::move(begun));
}

void Progress::waits(const std::string& what) {
  if (what == last_wait_) return;
  last_wait_ = what;
  StepStanding now;
  {
    const std::scoped_lock lock(mutex_);
    if (standing_.steps.empty()) return;
    standing_.steps.back().text = what;
    now = standing_.steps.back();
  }
  print(step_line(now, clock_.now(), colour_), false);
}

void Progress::ends(std::string_view result, Duration took, const std::string& evidence) {
  StepStanding now;
  {
    const std::scoped_lock lock(mutex_);
    if (standing_.steps.empty()) return;
    StepStanding& step = standing_.steps.back();
    step.result = result;
    step.took = took;
    step.text = evidence;
    now = step;
  }
  print(step_line(now, clock_.now(), colour_), true);
}

void Progress::says(const std::string& text) {
  if (out_ == nullptr || yielded_) return;
  if (line_open_) *out_ << '\n';
  line_open_ = false;
  *out_ << printable(text) << '\n' << std::flush;
}

void Progress::checked(const std::vector<Finding>& findings) {
  const std::scoped_lock lock(mutex_);
  standing_.findings = findings;
}

void Progress::writes(std::optional<Mono> stopped, std::optional<Mono> resumed) {
  const std::scoped_lock lock(mutex_);
  standing_.writes_stopped = stopped;
  standing_.writes_resumed = resumed;
}

void Progress::promoted() {
  const std::scoped_lock lock(mutex_);
  standing_.promoted = true;
}

void Progress::left_behind(const std::vector<Writer>& sessions) {
  const std::scoped_lock lock(mutex_);
  standing_.left_behind = sessions;
}

void Progress::watched(const WatchedSoFar& so_far) {
  const std::scoped_lock lock(mutex_);
  standing_.watched = so_far;
}

void Progress::concluded(int exit_code) {
  const std::scoped_lock lock(mutex_);
  standing_.phase = exit_code == 0 ? "done" : "failed";
  standing_.phase_since = clock_.wall();
  standing_.exit_code = exit_code;
}

Standing Progress::standing() const {
  const std::scoped_lock lock(mutex_);
  return standing_;
}

}  // namespace pgrm::agent
