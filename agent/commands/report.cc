#include "agent/view/report.h"

#include <algorithm>
#include <filesystem>
#include <iostream>

#include "agent/base/options.h"
#include "agent/base/state_dir.h"
#include "agent/commands/commands.h"
#include "agent/engine/walk.h"
#include "agent/view/reports_view.h"
#include "core/base/error.h"
#include "core/base/json_text.h"

namespace pgrm::agent {
namespace {

namespace fs = std::filesystem;

/// What that file says; null when there is no such file.
nlohmann::json read_json(const fs::path& path) {
  return fs::exists(path) ? nlohmann::json::parse(read_file(path)) : nlohmann::json();
}

/// Why the newest cutover of `folder` has no report though it has a journal; empty: it has one.
std::string without_report(const std::string& folder, const std::string& name) {
  const auto begun = newest_with(folder, "journal.jsonl");
  if (!begun || fs::exists(*begun + "/report.json")) return {};
  const auto records = parse_journal(read_file(*begun + "/journal.jsonl"));
  if (records.empty()) return {};
  return settled(records) ? "its agent died, and a recovery has settled it: agent status --pair " + name
                          : "it is under way, or its agent has died: agent recover --dry-run --pair " + name;
}

/// Of a pair whose cutovers lie in `folder`, or whose report was copied there.
PairReport report_in(const std::string& folder, const std::string& name) {
  PairReport pair{.name = name};
  try {
    if (pair.missing = without_report(folder, name); !pair.missing.empty()) return pair;
    const std::string directory =
        fs::exists(folder + "/report.json") ? folder : newest_with(folder, "report.json").value_or(folder);
    pair.verified = read_json(directory + "/verify.json");
    pair.report = read_json(directory + "/report.json");
    if (pair.report.is_null()) pair.missing = "no cutover has left a report in " + folder;
    reports_table({pair});  // what cannot be shown is no report, and must not hide those of the others
  } catch (const std::exception& problem) {
    pair = {.name = name, .missing = "the report in " + folder + " cannot be read: " + problem.what()};
  }
  return pair;
}

std::vector<std::string> folders_in(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code problem;
  for (const auto& entry : fs::directory_iterator(folder, problem)) {
    if (entry.is_directory()) names.push_back(entry.path().filename());
  }
  if (problem) throw Error(ErrorCode::file_failed, "cannot read " + folder + ": " + problem.message());
  if (names.empty()) throw Error(ErrorCode::file_failed, "there is no folder of a pair in " + folder);
  return names;
}

std::vector<PairReport> collect(const std::vector<Settings>& pairs, const Arguments& arguments) {
  std::vector<PairReport> reports;
  for (const Settings& pair : pairs) {
    const std::string name = pair.pair_name();
    reports.push_back(report_in(arguments.from ? *arguments.from + "/" + name : state_dir_from(pair), name));
  }
  if (pairs.empty()) {
    for (const std::string& name : folders_in(*arguments.from)) {
      reports.push_back(report_in(*arguments.from + "/" + name, name));
    }
  }
  return reports;
}

}  // namespace

int report(const Settings& settings, const Arguments& arguments) {
  const std::string state_dir = state_dir_from(settings);
  const auto directory = newest_with(state_dir, "report.json");
  if (!directory) {
    throw Error(ErrorCode::file_failed, "no cutover has left a report in " + state_dir, "choose another --state-dir");
  }
  const std::string text = read_file(*directory + "/report.json");
  if (arguments.json) {
    std::cout << text;
    return 0;
  }
  const auto written = nlohmann::json::parse(text);
  const std::string page = *directory + "/report.html";
  write_file(page, report_page(written));
  print_summary(std::cout, written, page);
  return 0;
}

int report_all(const std::vector<Settings>& pairs, const Arguments& arguments) {
  std::vector<PairReport> reports = collect(pairs, arguments);
  sort_unfinished_first(reports);
  if (arguments.json) {
    std::cout << json_text(reports_to_json(reports), 2) << '\n';
    return 0;
  }
  const Style style = Style::of_terminal();
  for (const Line& line : reports_table(reports)) std::cout << line.render(style) << '\n';
  std::cout << '\n';
  for (const Line& line : reports_total(reports)) std::cout << line.render(style) << '\n';
  return 0;
}

}  // namespace pgrm::agent
