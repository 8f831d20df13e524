#include "agent/compare/window.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace pgrm::agent {
namespace {

bool began_anew(const WorkloadSnapshot& begin, const WorkloadSnapshot& end, std::string_view statistics) {
  const auto before = begin.resets.find(statistics), after = end.resets.find(statistics);
  if (before == begin.resets.end() || after == end.resets.end()) return false;  // a version that does not tell
  return before->second != after->second;
}

std::string why_unknown(const WorkloadSnapshot& begin, const WorkloadSnapshot& end, Duration shortest) {
  if (begin.system_identifier != end.system_identifier || begin.database != end.database) {
    return "the two looks are not at the same database";
  }
  if (std::abs(to_unix(begin.started_at) - to_unix(end.started_at)) > 1) return "the server was restarted in between";
  const double seconds = to_unix(end.at) - to_unix(begin.at);
  if (seconds < to_seconds(shortest)) {
    return fmt::format("{:.1f} s are too short to say anything, at least {:g} s are needed", seconds,
                       to_seconds(shortest));
  }
  return {};
}

/// One that has fewer calls than before was thrown out and came back: all of its calls are of this window.
StatementCounters added(const StatementCounters& before, const StatementCounters& now) {
  if (now.calls < before.calls) return now;
  return {now.calls - before.calls, now.milliseconds - before.milliseconds, now.blocks - before.blocks,
          now.read - before.read};
}

Statements added(const Statements& begin, const Statements& end) {
  Statements window;
  for (const auto& [id, now] : end) {
    const auto before = begin.find(id);
    const StatementCounters add = before == begin.end() ? now : added(before->second, now);
    if (add.calls > 0) window[id] = add;
  }
  return window;
}

}  // namespace

std::optional<double> WorkloadWindow::counter(std::string_view name) const {
  const auto found = counters.find(name);
  return found == counters.end() ? std::nullopt : std::optional(found->second);
}

std::optional<double> WorkloadWindow::rate(std::string_view name) const {
  const auto value = counter(name);
  if (!value || !seconds || *seconds <= 0) return std::nullopt;
  return *value / *seconds;
}

WorkloadWindow between(const WorkloadSnapshot& begin, const WorkloadSnapshot& end, Duration shortest) {
  WorkloadWindow window = whole(end);
  window.from = begin.at;
  window.seconds = to_unix(end.at) - to_unix(begin.at);
  window.problem = why_unknown(begin, end, shortest);
  if (!window.problem.empty()) {
    window.counters.clear();
    window.statements.reset();
    return window;
  }
  for (const auto& [name, now] : end.counters) {
    const auto row = std::ranges::find(workload_counters(), name, &WorkloadCounter::name);
    if (row != workload_counters().end() && row->gauge) continue;
    const bool anew = row == workload_counters().end() || began_anew(begin, end, row->reset);
    const auto before = begin.counters.find(name);
    if (anew || before == begin.counters.end() || now < before->second) {
      window.counters.erase(name);
    } else {
      window.counters[name] = now - before->second;
    }
  }
  if (began_anew(begin, end, "database"))
    window.notes.emplace_back("the statistics of the database were reset in between");
  if (!window.statements) return window;
  if (!begin.statements) {
    window.statements.reset();
    window.statements_problem = begin.statements_problem;
    window.statements_hint = begin.statements_hint;
  } else if (began_anew(begin, end, "statements")) {
    window.statements.reset();
    window.statements_problem = "pg_stat_statements was reset in between";
  } else {
    window.statements = added(*begin.statements, *end.statements);
  }
  return window;
}

WorkloadWindow whole(const WorkloadSnapshot& snapshot) {
  return {.problem = {},
          .from = {},
          .to = snapshot.at,
          .seconds = std::nullopt,
          .counters = snapshot.counters,
          .settings = snapshot.settings,
          .statements = snapshot.statements,
          .statements_problem = snapshot.statements_problem,
          .statements_hint = snapshot.statements_hint,
          .notes = {}};
}

}  // namespace pgrm::agent
