#include "agent/view/report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <map>
#include <ostream>
#include <utility>
#include <vector>

#include "agent/view/clients.h"
#include "core/base/error.h"
#include "core/base/json_text.h"
#include "core/base/printable.h"

namespace pgrm::agent {
namespace {

nlohmann::json steps_to_json(const Standing& standing, const std::vector<Attempt>& undone) {
  auto steps = nlohmann::json::array();
  for (std::size_t i = 0; i < standing.steps.size(); ++i) {
    const StepStanding& step = standing.steps[i];
    if (step.name == watch_phase) continue;
    const auto before = std::ranges::count_if(undone, [i](const Attempt& attempt) { return attempt.steps <= i; });
    steps.push_back({{"name", step.name},
                     {"attempt", before + 1},
                     {"result", step.result},
                     {"began_seconds", to_seconds(step.began - standing.began_mono)},
                     {"seconds", to_seconds(step.took)},
                     {"evidence", step.text}});
  }
  return steps;
}

/// Those that were undone because the pause was too long; the last one is what the rest of the report is about.
nlohmann::json attempts_to_json(const Cutover& cutover) {
  auto attempts = nlohmann::json::array();
  for (const Attempt& attempt : cutover.attempts) {
    attempts.push_back({{"message", attempt.message},
                        {"write_unavailable_seconds",
                         attempt.paused ? nlohmann::json(to_seconds(*attempt.paused)) : nlohmann::json()}});
  }
  return attempts;
}

nlohmann::json lag_to_json(const Progress& progress, Mono began) {
  auto points = nlohmann::json::array();
  for (const auto& [at, bytes] : progress.lag().points()) points.push_back({to_seconds(at - began), bytes});
  return points;
}

std::string in_ms(const nlohmann::json& seconds) { return human(from_seconds(seconds.get<double>())); }

/// What the steps of an attempt took while writes were stopped: "stop_traffic 1.2 ms, fence 5.0 s".
std::string parts_of(const nlohmann::json& report, int attempt) {
  std::vector<std::string> parts;
  bool stopped = false;
  for (const auto& step : report.at("steps")) {
    if (step.value("attempt", 1) != attempt) continue;
    stopped = stopped || step.at("name") == "stop_traffic";
    if (!stopped) continue;
    const bool undone = step.at("result") == "undone";
    parts.push_back(fmt::format("{}{} {}", undone ? "undo of " : "", step.at("name").get<std::string>(),
                                in_ms(step.at("seconds"))));
    if (undone && step.at("name") == "stop_traffic") break;
  }
  return fmt::format("{}", fmt::join(parts, ", "));
}

}  // namespace

std::string_view headline(int exit_code) {
  struct Row {
    int exit_code;
    std::string_view words;
  };
  static constexpr std::array rows{Row{3, "REFUSED"}, Row{4, "NOT BEGUN"}, Row{5, "UNDONE"}, Row{6, "NOT FINISHED"},
                                   Row{7, "UNDECIDED"}};
  const auto* const row = std::ranges::find(rows, exit_code, &Row::exit_code);
  return row == rows.end() ? "FAILED" : row->words;
}

nlohmann::json findings_to_json(const std::vector<Finding>& findings) {
  auto checks = nlohmann::json::array();
  for (const Finding& finding : findings) {
    checks.push_back({{"group", finding.check->group},
                      {"name", finding.check->name},
                      {"why", finding.check->why},
                      {"level", to_string(finding.verdict.level)},
                      {"reason", finding.verdict.reason},
                      {"hint", finding.verdict.hint}});
  }
  return checks;
}

nlohmann::json make_report(const Cutover& cutover, const Outcome& outcome, bool dry_run,
                           const nlohmann::json& client_gap) {
  const Standing standing = cutover.progress.standing();
  nlohmann::json report{
      {"cutover", cutover.id},
      {"program_version", PGRM_VERSION},
      {"written_at", to_iso8601(cutover.clock.wall())},
      {"began_at", to_iso8601(standing.began)},
      {"dry_run", dry_run},
      {"rehearsal", cutover.options.rehearsal},
      {"outcome", outcome.name},
      {"exit_code", outcome.exit_code},
      {"message", outcome.message},
      {"hint", outcome.hint},
      {"old_primary", cutover.options.pair.old_primary.address()},
      {"new_primary", cutover.options.pair.new_primary.address()},
      {"promoted", outcome.promoted},
      {"writable_now", cutover.situation ? writable_now(*cutover.situation) : "unknown"},
      {"steps", steps_to_json(standing, cutover.attempts)},
      {"checks", findings_to_json(cutover.findings)},
      {"warnings", cutover.warnings},
  };
  if (cutover.situation) report["servers"] = situation_to_json(*cutover.situation).at("servers");
  if (!cutover.system_identifier.empty()) {
    report["system_identifier"] = cutover.system_identifier;
    report["timeline"] = {
        {"before", cutover.old_timeline},
        {"after", cutover.new_timeline > 0 ? nlohmann::json(cutover.new_timeline) : nlohmann::json()}};
  }
  if (cutover.fence && cutover.fenced_end) {
    report["fence"] = {{"form", to_string(cutover.plan->form)},
                       {"lsn", cutover.fenced_end->flush.to_string()},
                       {"next_transaction_id", cutover.fenced_end->next_xid},
                       {"sessions_ended", cutover.fence->sessions_ended}};
  }
  if (outcome.promoted) {
    report["old_primary_is"] = {{"demotion", to_string(cutover.options.demotion)},
                                {"strength", strength_of(cutover.options.demotion)}};
    report["left_behind"] = writers_to_json(cutover.left_behind);
  }
  if (cutover.writes_stopped && cutover.writes_resumed) {
    report["write_unavailable_seconds"] = to_seconds(*cutover.writes_resumed - *cutover.writes_stopped);
    report["writes_stopped_at_seconds"] = to_seconds(*cutover.writes_stopped - standing.began_mono);
  }
  if (!client_gap.is_null()) {
    report["client_write_gap_seconds"] = client_gap.at("seconds");
    report["client_write_gap_began_at"] = client_gap.at("began_at");
  }
  report["max_write_pause_seconds"] = to_seconds(cutover.options.max_write_pause);
  report["attempts"] = attempts_to_json(cutover);
  if (cutover.prediction) report["prediction"] = prediction_to_json(*cutover.prediction);
  if (cutover.comparison) report["comparison"] = to_json(*cutover.comparison);
  if (!cutover.way_back.empty()) report["way_back"] = cutover.way_back;
  report["lag_bytes"] = lag_to_json(cutover.progress, standing.began_mono);
  return report;
}

std::string report_page(const nlohmann::json& report) {
  // Inside a <script> only "</" could end it; in JSON, "<" can stand as an escape.
  std::string data;
  for (const char c : json_text(report)) {
    if (c == '<') {
      data += "\\u003c";
    } else {
      data += c;
    }
  }
  constexpr std::string_view place = "{\"place\": \"of the report\"}";
  std::string page = report_html;
  page.replace(page.find(place), place.size(), data);
  return page;
}

/// Every text in it for a terminal.
static nlohmann::json printable(nlohmann::json value) {
  if (value.is_string()) return pgrm::printable(value.get<std::string>());
  if (value.is_structured()) {
    for (auto& part : value) part = printable(std::move(part));
  }
  return value;
}

void print_summary(std::ostream& out, const nlohmann::json& as_it_is, const std::string& path) {
  const nlohmann::json report = printable(as_it_is);
  const auto line = [&out](std::string_view name, const std::string& value) {
    out << fmt::format("  {:<22} {}\n", name, value);
  };
  const bool good = report.at("exit_code") == 0;
  const bool dry_run = report.at("dry_run");
  const bool rehearsal = report.value("rehearsal", false);
  out << '\n'
      << (!good       ? fmt::format("{}: {}", headline(report.at("exit_code")), report.at("message").get<std::string>())
          : rehearsal ? "REHEARSED: everything up to the promotion was done for real and undone"
          : dry_run   ? "DRY RUN PASSED: every prerequisite holds, nothing was changed"
                      : "DONE: " + report.at("new_primary").get<std::string>() + " is the primary")
      << '\n';
  if (const std::string hint = report.at("hint"); !good && !hint.empty()) out << "hint: " << hint << '\n';
  out << '\n';
  line("writable now", report.at("writable_now"));
  if (!good && report.contains("servers")) {
    for (const auto& server : report.at("servers")) out << "    " << server.at("text").get<std::string>() << '\n';
  }
  if (report.contains("old_primary_is") && good) {
    line("old primary, " + report.at("old_primary_is").at("demotion").get<std::string>(), report.at("old_primary"));
  }
  if (report.contains("timeline") && report.at("timeline").at("after").is_number()) {
    line("timeline", fmt::format("{} -> {}", report.at("timeline").at("before").get<int>(),
                                 report.at("timeline").at("after").get<int>()));
  }
  if (report.contains("fence")) {
    line("proved at", fmt::format("{}, 0 bytes behind", report.at("fence").at("lsn").get<std::string>()));
  }
  if (report.contains("prediction")) {
    const auto& prediction = report.at("prediction");
    line(dry_run ? "writes would stop for" : "predicted beforehand", in_ms(prediction.at("seconds")));
    if (dry_run) {
      for (const auto& part : prediction.at("parts")) {
        out << fmt::format("    {:<20} {:>9}  {}\n", part.at("step").get<std::string>(), in_ms(part.at("seconds")),
                           part.at("from").get<std::string>());
      }
    }
  }
  if (report.contains("write_unavailable_seconds"))
    line("writes stopped for", in_ms(report.at("write_unavailable_seconds")));
  if (report.contains("client_write_gap_seconds")) {
    line("clients' write gap", in_ms(report.at("client_write_gap_seconds")));
  }
  if (report.contains("attempts")) {
    int number = 0;
    for (const auto& attempt : report.at("attempts")) {
      const auto& paused = attempt.at("write_unavailable_seconds");
      line(fmt::format("attempt {}, undone", ++number),
           fmt::format("{}: {}", paused.is_null() ? "?" : in_ms(paused), attempt.at("message").get<std::string>()));
      out << "    " << parts_of(report, number) << '\n';
    }
  }
  if (report.contains("comparison")) {
    line("before and after", report.at("comparison").at("line"));
  }
  line("exit code", fmt::format("{} ({})", report.at("exit_code").get<int>(), report.at("outcome").get<std::string>()));
  if (!path.empty()) line("report", path);
  for (const auto& warning : report.at("warnings")) out << "  warning: " << warning.get<std::string>() << '\n';
  if (good && report.contains("old_primary_is")) {
    out << "  note: " << report.at("old_primary_is").at("strength").get<std::string>() << '\n';
  }
}

void print_findings(std::ostream& out, const std::vector<Finding>& findings, bool all) {
  std::vector<const Finding*> sorted;
  for (const Finding& finding : findings) sorted.push_back(&finding);
  std::ranges::stable_sort(sorted, {}, [](const Finding* finding) { return finding->verdict.level; });
  // One cause, one line: what several checks cannot be judged without is said once.
  std::map<std::string_view, std::vector<std::string_view>> unjudged;
  for (const Finding& finding : findings) {
    if (finding.verdict.level == Level::unknown) unjudged[finding.verdict.reason].push_back(finding.check->name);
  }
  std::size_t hidden = 0;
  for (const Finding* const finding : sorted) {
    const Verdict& verdict = finding->verdict;
    if (verdict.level == Level::unknown && unjudged[verdict.reason].size() > 1) {
      const auto& alike = unjudged[verdict.reason];
      if (alike.front() != finding->check->name) continue;
      out << fmt::format("  {:<8} {:<12} {:<22} {}\n", "unknown", "", fmt::format("{} checks", alike.size()),
                         pgrm::printable(verdict.reason));
      continue;
    }
    if (verdict.level == Level::pass && !all) {
      ++hidden;
      continue;
    }
    out << fmt::format("  {:<8} {:<12} {:<22} {}\n", to_string(verdict.level), finding->check->group,
                       finding->check->name, pgrm::printable(verdict.reason));
    if (!verdict.hint.empty()) {
      out << fmt::format("  {:<8} {:<12} {:<22} hint: {}\n", "", "", "", pgrm::printable(verdict.hint));
    }
  }
  if (hidden > 0) out << fmt::format("  {:<8} {} more checks\n", "pass", hidden);
}

}  // namespace pgrm::agent
