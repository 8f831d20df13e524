#include "agent/view/reports_view.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <optional>
#include <tuple>

#include "agent/view/report.h"
#include "core/base/clock.h"

namespace pgrm::agent {
namespace {

using nlohmann::json;

constexpr std::string_view done = "DONE", rehearsed = "REHEARSED", no_report = "NO REPORT";

std::string_view outcome_of(const PairReport& pair) {
  if (pair.report.is_null()) return no_report;
  if (const int exit_code = pair.report.at("exit_code"); exit_code != 0) return headline(exit_code);
  return pair.report.value("rehearsal", false) ? rehearsed : done;
}

/// nullopt: the report does not say it.
std::optional<double> number_in(const json& report, const char* key) {
  const auto found = report.is_object() ? report.find(key) : report.end();
  return found == report.end() || !found->is_number() ? std::nullopt : std::optional(found->get<double>());
}

std::string in_words(std::optional<double> seconds) { return seconds ? human(from_seconds(*seconds)) : "?"; }

json in_json(std::optional<double> seconds) { return seconds ? json(*seconds) : json(); }

struct Pauses {
  std::optional<double> min, median, max;
};

Pauses pauses_of(const std::vector<PairReport>& pairs) {
  std::vector<double> pauses;
  for (const PairReport& pair : pairs) {
    const auto pause = number_in(pair.report, "write_unavailable_seconds");
    if (pause && outcome_of(pair) == done) pauses.push_back(*pause);
  }
  if (pauses.empty()) return {};
  std::ranges::sort(pauses);
  const std::size_t middle = pauses.size() / 2;
  const double median = pauses.size() % 2 == 1 ? pauses[middle] : (pauses[middle - 1] + pauses[middle]) / 2;
  return {pauses.front(), median, pauses.back()};
}

/// What looking up every acknowledged write said; or that the new primary had all WAL of the old one.
Cell lost(const PairReport& pair) {
  if (!pair.verified.is_null()) {
    const auto acknowledged = pair.verified.at("acknowledged").get<std::int64_t>();
    if (pair.verified.at("proven").get<bool>()) return {fmt::format("none of {}", acknowledged), green};
    const auto missing = pair.verified.at("missing").get<std::int64_t>();
    return {missing == 0 ? "not proven" : fmt::format("{} of {}", missing, acknowledged), red};
  }
  if (pair.report.is_object() && pair.report.value("promoted", false) && pair.report.contains("fence")) {
    return {"no WAL"};
  }
  return {"?", dim};
}

std::vector<std::string> by_hand(const PairReport& pair) {
  if (pair.report.is_null()) return {pair.missing};
  std::vector<std::string> things;
  if (pair.report.at("exit_code") != 0) things.push_back(pair.report.at("message"));
  if (const auto found = pair.report.find("left_behind"); found != pair.report.end() && !found->empty()) {
    things.push_back(fmt::format("sessions on the old primary: {}", found->size()));
  }
  for (const auto& warning : pair.report.at("warnings")) things.push_back(warning);
  return things;
}

std::string_view colour_of(std::string_view outcome) {
  if (outcome == done) return green;
  return outcome == rehearsed || outcome == no_report ? yellow : red;
}

/// "2026-01-31 09:05:07", UTC.
std::string when(const PairReport& pair) {
  if (pair.report.is_null()) return "?";
  std::string text = pair.report.at("began_at").get<std::string>().substr(0, 19);
  std::ranges::replace(text, 'T', ' ');
  return text;
}

std::map<std::string_view, std::size_t> outcomes_of(const std::vector<PairReport>& pairs) {
  std::map<std::string_view, std::size_t> outcomes;
  for (const PairReport& pair : pairs) ++outcomes[outcome_of(pair)];
  return outcomes;
}

}  // namespace

void sort_unfinished_first(std::vector<PairReport>& pairs) {
  const auto exit_code = [](const PairReport& pair) {
    return pair.report.is_null() ? 0 : pair.report.at("exit_code").get<int>();
  };
  std::ranges::sort(pairs, {}, [&](const PairReport& pair) {
    return std::tuple(-exit_code(pair), !pair.report.is_null(), std::string_view(pair.name));
  });
}

Lines reports_table(const std::vector<PairReport>& pairs) {
  std::vector<std::vector<Cell>> rows{{{"pair"},
                                       {"began (UTC)"},
                                       {"outcome"},
                                       {"exit"},
                                       {"writes stopped"},
                                       {"clients' gap"},
                                       {"lost"},
                                       {"left by hand"}}};
  for (const PairReport& pair : pairs) {
    const std::string_view outcome = outcome_of(pair);
    rows.push_back({{pair.name},
                    {when(pair)},
                    {std::string(outcome), colour_of(outcome)},
                    {pair.report.is_null() ? "?" : std::to_string(pair.report.at("exit_code").get<int>())},
                    {in_words(number_in(pair.report, "write_unavailable_seconds"))},
                    {in_words(number_in(pair.report, "client_write_gap_seconds"))},
                    lost(pair),
                    {fmt::format("{}", fmt::join(by_hand(pair), "; "))}});
  }
  return columns(rows);
}

Lines reports_total(const std::vector<PairReport>& pairs) {
  std::vector<std::string> counts;
  for (const auto& [outcome, count] : outcomes_of(pairs)) counts.push_back(fmt::format("{} {}", count, outcome));
  Lines lines{
      Line(fmt::format("{} {}: {}", pairs.size(), pairs.size() == 1 ? "pair" : "pairs", fmt::join(counts, ", ")))};
  if (const Pauses pauses = pauses_of(pairs); pauses.min) {
    lines.emplace_back(fmt::format("writes stopped for: min {}, median {}, max {}, of those that are done",
                                   in_words(pauses.min), in_words(pauses.median), in_words(pauses.max)));
  }
  return lines;
}

json reports_to_json(const std::vector<PairReport>& pairs) {
  json rows = json::array(), outcomes = json::object();
  for (const PairReport& pair : pairs) {
    rows.push_back({{"name", pair.name},
                    {"outcome", outcome_of(pair)},
                    {"by_hand", by_hand(pair)},
                    {"report", pair.report},
                    {"verified", pair.verified}});
  }
  for (const auto& [outcome, count] : outcomes_of(pairs)) outcomes[std::string(outcome)] = count;
  const Pauses pauses = pauses_of(pairs);
  return {{"pairs", rows},
          {"outcomes", outcomes},
          {"pause_seconds",
           {{"min", in_json(pauses.min)}, {"median", in_json(pauses.median)}, {"max", in_json(pauses.max)}}}};
}

}  // namespace pgrm::agent
