#include "agent/compare/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <utility>

#include "agent/base/bytes.h"

namespace pgrm::agent {
namespace {

using Figure = std::optional<double>;

/// How a figure is judged: not at all; less is better; or it is what the application asks for, and only its absence is
/// bad news.
enum class Judged { not_at_all, less_is_better, load };

Figure share(const Figure& part, const Figure& rest) {
  if (!part || !rest || *part + *rest <= 0) return std::nullopt;
  return *part / (*part + *rest);
}

Figure sum(const Figure& one, const Figure& other) { return one && other ? Figure(*one + *other) : std::nullopt; }

Figure quotient(const Figure& value, const Figure& by, double at_least = 1) {
  return value && by && *by >= at_least ? Figure(*value / *by) : std::nullopt;
}

Figure percent(const Figure& value) { return value ? Figure(100 * *value) : std::nullopt; }

Figure transactions(const WorkloadWindow& w) { return sum(w.rate("commits"), w.rate("rollbacks")); }
Figure rolled_back(const WorkloadWindow& w) { return percent(share(w.counter("rollbacks"), w.counter("commits"))); }

Figure statement_mean(const WorkloadWindow& w) {
  if (!w.statements) return std::nullopt;
  StatementCounters all;
  for (const auto& [id, one] : *w.statements) {
    all.calls += one.calls;
    all.milliseconds += one.milliseconds;
  }
  return quotient(all.milliseconds, static_cast<double>(all.calls));
}

Figure active_per_transaction(const WorkloadWindow& w) {
  return quotient(w.counter("active_ms"), sum(w.counter("commits"), w.counter("rollbacks")), 10);
}
Figure cache_hits(const WorkloadWindow& w) { return percent(share(w.counter("blocks_hit"), w.counter("blocks_read"))); }
Figure reads(const WorkloadWindow& w) { return w.rate("blocks_read"); }
Figure read_time(const WorkloadWindow& w) { return quotient(w.counter("read_ms"), w.counter("blocks_read"), 100); }
Figure wal(const WorkloadWindow& w) { return w.rate("wal_bytes"); }
Figure temporary(const WorkloadWindow& w) { return w.rate("temp_bytes"); }
Figure checkpoints(const WorkloadWindow& w) {
  return sum(w.counter("checkpoints_timed"), w.counter("checkpoints_requested"));
}
Figure deadlocks(const WorkloadWindow& w) { return w.counter("deadlocks"); }
Figure failed_sessions(const WorkloadWindow& w) { return w.counter("sessions_failed"); }
Figure connections(const WorkloadWindow& w) { return w.counter("connections"); }
Figure lock_waits(const WorkloadWindow& w) { return w.counter("waiting_for_locks"); }

struct Row {
  std::string_view key, name, unit;
  Figure (*of)(const WorkloadWindow&);
  Judged judged = Judged::not_at_all;
  double floor = 0;  // a difference that is smaller is none
};

constexpr std::array table{
    Row{"transactions", "transactions", "/s", transactions, Judged::load, 1},
    Row{"rolled_back", "rolled back", "%", rolled_back, Judged::less_is_better, 0.5},
    Row{"statement", "mean of all statements", "ms", statement_mean},
    Row{"active", "server time of a transaction", "ms", active_per_transaction, Judged::less_is_better, 0.02},
    Row{"cache_hits", "blocks found in shared_buffers", "%", cache_hits},
    Row{"reads", "blocks read from outside of them", "/s", reads},
    Row{"read_time", "time to read one", "ms", read_time, Judged::less_is_better, 0.02},
    Row{"wal", "WAL", "B/s", wal},
    Row{"temporary", "temporary files", "B/s", temporary},
    // So few that there is no rate.
    Row{"checkpoints", "checkpoints in the window", "", checkpoints},
    Row{"deadlocks", "deadlocks in it", "", deadlocks},
    Row{"failed_sessions", "sessions that ended badly in it", "", failed_sessions},
    Row{"connections", "connections in the end", "", connections},
    Row{"lock_waits", "of these, waiting for a lock", "", lock_waits},
};

Judgement judged(const Figure& before, const Figure& after, Judged how, double floor) {
  if (how == Judged::not_at_all) return Judgement::none;
  if (!before || !after) return Judgement::unknown;
  if (std::abs(*after - *before) <= floor) return Judgement::same;
  if (how == Judged::load) return *after < *before / 2 ? Judgement::worse : Judgement::same;
  if (*after > *before * worse_above) return Judgement::worse;
  return *after < *before * better_below ? Judgement::better : Judgement::same;
}

/// What the statements of both windows cost by the call, weighed as they are called now: the mean of all statements
/// changes with what the application asks for, this one does not.
struct SameStatements {
  double before = 0, after = 0;  // milliseconds of one call
};

std::optional<SameStatements> same_statements(const std::vector<StatementChange>& statements) {
  double before = 0, after = 0, calls = 0;
  for (const StatementChange& one : statements) {
    const auto weight = static_cast<double>(one.after.calls);
    before += one.mean_before() * weight;
    after += one.mean_after() * weight;
    calls += weight;
  }
  if (calls == 0 || before <= 0) return std::nullopt;
  return SameStatements{before / calls, after / calls};
}

double by_call(std::int64_t count, const StatementCounters& of) {
  return static_cast<double>(count) / static_cast<double>(of.calls);
}

/// PostgreSQL does not tell the plan. But another plan looks at another number of blocks, and a cold cache does not.
std::string cause_of(const StatementChange& one) {
  const double before = by_call(one.before.blocks, one.before), after = by_call(one.after.blocks, one.after);
  if (after > slower_factor * before + 2) {
    return fmt::format("it looks at {:.0f} blocks each time instead of {:.0f}: its plan may have changed", after,
                       before);
  }
  const double read_before = by_call(one.before.read, one.before), read_after = by_call(one.after.read, one.after);
  if (read_after > slower_factor * read_before + 0.5) {
    return fmt::format(
        "it reads {:.1f} blocks each time from outside of shared_buffers instead of {:.1f}: the cache "
        "may be cold",
        read_after, read_before);
  }
  return "it looks at as many blocks as before";
}

Judgement judged(const StatementChange& one) {
  constexpr double floor = 0.05;  // milliseconds: of what takes no time, a multiple is no time either
  if (std::abs(one.mean_after() - one.mean_before()) < floor) return Judgement::same;
  if (one.mean_after() > slower_factor * one.mean_before()) return Judgement::worse;
  return one.mean_after() * slower_factor < one.mean_before() ? Judgement::better : Judgement::same;
}

std::vector<StatementChange> changes(const Statements& before, const Statements& after) {
  std::vector<StatementChange> result;
  for (const auto& [id, now] : after) {
    const auto then = before.find(id);
    if (then == before.end() || now.calls < fewest_calls || then->second.calls < fewest_calls) continue;
    StatementChange& one = result.emplace_back(StatementChange{id, {}, then->second, now, Judgement::same, {}});
    one.judgement = judged(one);
    if (one.judgement == Judgement::worse) one.cause = cause_of(one);
  }
  std::ranges::sort(result, [](const StatementChange& one, const StatementChange& other) {
    const bool worse = one.judgement == Judgement::worse, other_worse = other.judgement == Judgement::worse;
    if (worse != other_worse) return worse;
    return worse ? one.ratio() > other.ratio() : one.after.milliseconds > other.after.milliseconds;
  });
  return result;
}

std::vector<SettingChange> differences(const WorkloadWindow& before, const WorkloadWindow& after) {
  std::vector<SettingChange> result;
  const auto value = [](const auto& of, const std::string& name) {
    const auto found = of.find(name);
    return found == of.end() ? std::string() : found->second;
  };
  std::map<std::string, std::string, std::less<>> all = before.settings;
  all.insert(after.settings.begin(), after.settings.end());
  for (const auto& [name, ignored] : all) {
    SettingChange one{name, value(before.settings, name), value(after.settings, name)};
    if (one.before != one.after) result.push_back(std::move(one));
  }
  return result;
}

/// The time of a statement does not have its commit in it, nor its planning: that of a transaction does. It changes
/// with what the application asks for as well, so only a great change counts beside the statements.
bool slow_in_between(const Comparison& comparison) {
  const Measure& active = *comparison.measure("active");
  return active.judgement == Judgement::worse && active.ratio() > slower_factor;
}

Judgement overall(const Comparison& comparison, const Measure& latency) {
  for (const std::string_view key : {"transactions", "rolled_back"}) {
    if (comparison.measure(key)->judgement == Judgement::worse) return Judgement::worse;
  }
  return slow_in_between(comparison) ? Judgement::worse : latency.judgement;
}

/// The word, and the figures that it stands on.
std::string line_of(const Comparison& comparison, const Measure& latency) {
  const auto pair = [](const Measure& measure) {
    return fmt::format("{} instead of {}", shown(measure.after, measure.unit), shown(measure.before, measure.unit));
  };
  std::string line = fmt::format("{}: {} {}; ", to_string(comparison.overall), latency.name, pair(latency));
  if (const Measure& active = *comparison.measure("active"); slow_in_between(comparison) && latency.key != active.key) {
    line += fmt::format("{} {}; ", active.name, pair(active));
  }
  return line + fmt::format("transactions {}; rolled back {}", pair(*comparison.measure("transactions")),
                            pair(*comparison.measure("rolled_back")));
}

void add_notes(Comparison& comparison, const WorkloadWindow& before, const WorkloadWindow& after) {
  const auto both = [&](const std::string& then, const std::string& now, const std::string& what) {
    if (!then.empty()) comparison.notes.push_back("before: " + what + then);
    if (!now.empty()) comparison.notes.push_back("after: " + what + now);
  };
  both(before.problem, after.problem, "");
  for (const std::string& note : before.notes) comparison.notes.push_back("before: " + note);
  for (const std::string& note : after.notes) comparison.notes.push_back("after: " + note);
  const auto told = [](const WorkloadWindow& window) {
    if (!window.problem.empty() || window.statements) return std::string();
    return window.statements_problem + (window.statements_hint.empty() ? "" : "; " + window.statements_hint);
  };
  if (told(before) == told(after)) {
    if (!told(before).empty()) comparison.notes.push_back("statements are not known: " + told(before));
  } else {
    both(told(before), told(after), "statements are not known: ");
  }
  comparison.notes.emplace_back(
      "a p99 is not known: PostgreSQL keeps no distribution of times; the application's own metrics have it");
}

std::string first_word(std::string_view text) {
  std::string word;
  for (const char c : text) {
    if (std::isalpha(static_cast<unsigned char>(c)) == 0) break;
    word += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return word;
}

std::string_view without_comments(std::string_view text) {
  for (;;) {
    const std::size_t first = text.find_first_not_of(" \t\r\n(");
    if (first == std::string_view::npos) return {};
    text.remove_prefix(first);
    std::string_view end;
    if (text.starts_with("/*")) end = "*/";
    if (text.starts_with("--")) end = "\n";
    if (end.empty()) return text;
    const std::size_t at = text.find(end);
    if (at == std::string_view::npos) return {};
    text.remove_prefix(at + end.size());
  }
}

std::string one_line(std::string_view text) {
  std::string line;
  for (const char c : text) {
    const bool blank = std::isspace(static_cast<unsigned char>(c)) != 0;
    if (!blank) line += c;
    if (blank && !line.empty() && line.back() != ' ') line += ' ';
  }
  return line;
}

/// Cut at a whole character of UTF-8.
std::string at_most(std::string text, std::size_t bytes) {
  if (text.size() <= bytes) return text;
  while (bytes > 0 && (static_cast<unsigned char>(text[bytes]) & 0xc0U) == 0x80U) --bytes;
  return text.substr(0, bytes) + " …";
}

nlohmann::json to_json(const Figure& figure) { return figure ? nlohmann::json(*figure) : nlohmann::json(); }

nlohmann::json side_to_json(WallTime from, WallTime to, const Figure& seconds) {
  const bool known = from != WallTime{};
  return {{"from", known ? nlohmann::json(to_iso8601(from)) : nlohmann::json()},
          {"to", to != WallTime{} ? nlohmann::json(to_iso8601(to)) : nlohmann::json()},
          {"seconds", to_json(seconds)}};
}

}  // namespace

std::string_view to_string(Judgement judgement) {
  constexpr std::string_view names[] = {"better", "same", "worse", "unknown", ""};
  return names[static_cast<int>(judgement)];
}

std::optional<double> Measure::ratio() const {
  if (!before || !after || *before <= 0) return std::nullopt;
  return *after / *before;
}

const Measure* Comparison::measure(std::string_view key) const {
  const auto found = std::ranges::find(measures, key, &Measure::key);
  return found == measures.end() ? nullptr : &*found;
}

Comparison compare(const WorkloadWindow& before, const WorkloadWindow& after) {
  Comparison comparison{.before_from = before.from,
                        .before_to = before.to,
                        .after_from = after.from,
                        .after_to = after.to,
                        .before_seconds = before.seconds,
                        .after_seconds = after.seconds};
  if (before.statements && after.statements) comparison.statements = changes(*before.statements, *after.statements);
  for (const Row& row : table) {
    Measure& measure =
        comparison.measures.emplace_back(Measure{row.key, row.name, row.unit, row.of(before), row.of(after)});
    measure.judgement = judged(measure.before, measure.after, row.judged, row.floor);
  }
  Measure same{"same_statements", "a call of the same statements", "ms", std::nullopt, std::nullopt,
               Judgement::unknown};
  if (const auto cost = same_statements(comparison.statements)) {
    same.before = cost->before;
    same.after = cost->after;
    same.judgement = judged(same.before, same.after, Judged::less_is_better, 0.005);
  }
  comparison.measures.insert(comparison.measures.begin() + 2, same);
  // What is not known is neither better nor worse. Without the extension the time of whole transactions has to do.
  const Measure latency = same.judgement != Judgement::unknown ? same : *comparison.measure("active");
  comparison.overall = overall(comparison, latency);
  comparison.line = line_of(comparison, latency);
  comparison.settings = differences(before, after);
  add_notes(comparison, before, after);
  return comparison;
}

std::vector<std::int64_t> statements_to_name(const Comparison& comparison) {
  constexpr std::size_t most = 30;
  std::vector<std::int64_t> ids;
  for (const StatementChange& one : comparison.statements) {
    if (ids.size() < most) ids.push_back(one.id);
  }
  return ids;
}

void name_statements(Comparison& comparison, const std::map<std::int64_t, std::string>& texts) {
  for (StatementChange& one : comparison.statements) {
    if (const auto found = texts.find(one.id); found != texts.end()) one.text = shown_statement(found->second);
  }
}

std::string shown_statement(const std::string& text) {
  static constexpr std::array harmless{"select", "insert", "update", "delete",    "merge",   "with",
                                       "values", "table",  "begin",  "commit",    "end",     "rollback",
                                       "start",  "abort",  "fetch",  "savepoint", "release", "close"};
  constexpr std::size_t longest = 200;
  const std::string line = one_line(without_comments(text));
  if (std::ranges::find(harmless, first_word(line)) != harmless.end()) return at_most(line, longest);
  const std::size_t second = line.find(' ');
  if (second == std::string::npos) return first_word(line);
  return first_word(line) + " " + first_word(line.substr(second + 1)) + " …";
}

std::string shown(const std::optional<double>& value, std::string_view unit) {
  if (!value) return "unknown";
  if (unit == "ms") return human(from_seconds(*value / 1000));
  if (unit == "B/s") return human_bytes(static_cast<std::int64_t>(*value)) + "/s";
  const int digits = unit.empty() ? 0 : *value < 10 ? 2 : *value < 100 ? 1 : 0;
  return fmt::format("{:.{}f}{}{}", *value, digits, unit == "%" ? " " : "", unit);
}

nlohmann::json to_json(const Comparison& comparison) {
  constexpr std::size_t most = 30;
  nlohmann::json json{{"verdict", to_string(comparison.overall)},
                      {"line", comparison.line},
                      {"before", side_to_json(comparison.before_from, comparison.before_to, comparison.before_seconds)},
                      {"after", side_to_json(comparison.after_from, comparison.after_to, comparison.after_seconds)},
                      {"measures", nlohmann::json::array()},
                      {"statements", nlohmann::json::array()},
                      {"statements_compared", comparison.statements.size()},
                      {"settings", nlohmann::json::array()},
                      {"notes", comparison.notes}};
  for (const Measure& measure : comparison.measures) {
    json["measures"].push_back({{"key", measure.key},
                                {"name", measure.name},
                                {"unit", measure.unit},
                                {"before", to_json(measure.before)},
                                {"after", to_json(measure.after)},
                                {"verdict", to_string(measure.judgement)}});
  }
  for (const StatementChange& one : comparison.statements) {
    if (json["statements"].size() == most) break;
    json["statements"].push_back({{"queryid", std::to_string(one.id)},
                                  {"text", one.text.empty() ? nlohmann::json() : nlohmann::json(one.text)},
                                  {"verdict", to_string(one.judgement)},
                                  {"cause", one.cause},
                                  {"calls_before", one.before.calls},
                                  {"calls_after", one.after.calls},
                                  {"mean_ms_before", one.mean_before()},
                                  {"mean_ms_after", one.mean_after()},
                                  {"blocks_before", by_call(one.before.blocks, one.before)},
                                  {"blocks_after", by_call(one.after.blocks, one.after)}});
  }
  for (const SettingChange& one : comparison.settings) {
    json["settings"].push_back({{"name", one.name}, {"before", one.before}, {"after", one.after}});
  }
  return json;
}

}  // namespace pgrm::agent
