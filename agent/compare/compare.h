// Two windows side by side: what is better, what is worse, which statements got slower. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/compare/window.h"

namespace pgrm::agent {

enum class Judgement { better, same, worse, unknown, none };  // none: it is told, and not judged

std::string_view to_string(Judgement judgement);

/// A statement that was called at least this often in both windows is compared.
inline constexpr std::int64_t fewest_calls = 5;
/// Slower than this many times means that something about it has changed.
inline constexpr double slower_factor = 2;
/// What is between them is the same.
inline constexpr double better_below = 0.8, worse_above = 1.25;

/// One figure of both windows.
struct Measure {
  std::string_view key, name, unit;         // stable; for people; both literals
  std::optional<double> before{}, after{};  // in that unit
  Judgement judgement = Judgement::none;

  /// after / before; nullopt when one of them is not known, or nothing can be divided.
  std::optional<double> ratio() const;
};

/// One statement of both windows.
struct StatementChange {
  std::int64_t id = 0;
  std::string text{};  // as it may be shown; empty: not known
  StatementCounters before{}, after{};
  Judgement judgement = Judgement::same;  // worse: slower by more than slower_factor; better likewise
  std::string cause{};                    // what the counters say about why it is slower; empty: nothing

  double mean_before() const { return before.milliseconds / static_cast<double>(before.calls); }
  double mean_after() const { return after.milliseconds / static_cast<double>(after.calls); }
  double ratio() const { return mean_before() > 0 ? mean_after() / mean_before() : 0; }
};

struct SettingChange {
  std::string name, before, after;  // empty: that server does not have it
};

struct Comparison {
  Judgement overall = Judgement::unknown;
  std::string line{};  // overall, with figures
  WallTime before_from{}, before_to{}, after_from{}, after_to{};
  std::optional<double> before_seconds{}, after_seconds{};
  std::vector<Measure> measures{};
  std::vector<StatementChange>
      statements{};                       // those that got slower first, the worst of them first; then by their time
  std::vector<SettingChange> settings{};  // those that differ
  std::vector<std::string> notes{};       // what is not known, and what to type

  const Measure* measure(std::string_view key) const;
};

Comparison compare(const WorkloadWindow& before, const WorkloadWindow& after);

/// The ids of the statements that compare() tells of and whose text is worth asking for.
std::vector<std::int64_t> statements_to_name(const Comparison& comparison);
/// Fills in the texts, as they may be shown.
void name_statements(Comparison& comparison, const std::map<std::int64_t, std::string>& texts);

/// One line, without leading comments. Of a statement that is neither a query nor a change of rows only the first
/// words: its constants are not replaced, and a password may be among them.
std::string shown_statement(const std::string& text);

/// "1.2 ms", "98/s", "unknown": one figure of a measure, for people.
std::string shown(const std::optional<double>& value, std::string_view unit);

nlohmann::json to_json(const Comparison& comparison);

}  // namespace pgrm::agent
