// What is left of a cutover for people and programs: the summary on the terminal and report.json.
#pragma once

#include <iosfwd>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "agent/engine/walk.h"

namespace pgrm::agent {

/// Everything a report says, gathered after the fact. `client_gap`: the longest write gap that loadgen measured, as it
/// tells it (seconds, began_at); null when nobody did.
nlohmann::json make_report(const Cutover& cutover, const Outcome& outcome, bool dry_run,
                           const nlohmann::json& client_gap);

/// The report as a self-contained page; made from report.html.
std::string report_page(const nlohmann::json& report);

/// The page's template: a <script type="application/json"> in it waits for the report.
extern const char* const report_html;

/// Verdict first; `path`: where report.json lies, empty when there is none.
void print_summary(std::ostream& out, const nlohmann::json& report, const std::string& path);

/// Checks grouped, worst first; those that pass are counted only, unless `all`.
void print_findings(std::ostream& out, const std::vector<Finding>& findings, bool all);

/// What an exit code other than 0 means, in a word or two; report.html says the same.
std::string_view headline(int exit_code);
nlohmann::json findings_to_json(const std::vector<Finding>& findings);

}  // namespace pgrm::agent
