#include "agent/commands/invocation.h"

#include <fmt/format.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <utility>

#include "agent/base/state_dir.h"
#include "agent/view/report.h"
#include "core/base/error.h"
#include "core/base/json_text.h"
#include "core/base/wait.h"

namespace pgrm::agent {
namespace {

bool on_terminal() { return isatty(STDOUT_FILENO) != 0; }

/// A line of standard input, while nobody asks to stop.
std::string read_answer(const std::stop_token& stop) {
  std::string answer;
  for (;;) {
    if (stop.stop_requested()) throw Error(ErrorCode::undone, "interrupted, nothing was changed");
    pollfd input{STDIN_FILENO, POLLIN, 0};
    if (poll(&input, 1, 100) <= 0) continue;
    char c = 0;
    if (read(STDIN_FILENO, &c, 1) != 1 || c == '\n') return answer;
    answer += c;
  }
}

/// The write gap of this cutover as loadgen's clients saw it, when loadgen is there to tell. A gap ends with the next
/// acknowledged write: it is waited for, but not long.
nlohmann::json ask_client_gap(const Options& options) {
  nlohmann::json gap;
  if (!options.tells("loadgen")) return gap;
  try {
    const auto loadgen = http::make_client(options.loadgen_url, options.loadgen_access);
    const auto closed = [&] {
      const auto state = nlohmann::json::parse(http::get_ok(*loadgen, "/api/v1/state", std::chrono::seconds(2)));
      const auto& seen = state.at("longest_write_gap_since_pause");
      if (seen.is_null() || seen.at("open").get<bool>()) return false;
      gap = seen;
      return true;
    };
    wait_until(pgrm::system_clock(), std::chrono::seconds(5), std::chrono::milliseconds(10), {}, closed);
  } catch (const std::exception& failure) {
    spdlog::warn("loadgen does not tell its write gap: {}", failure.what());
  }
  return gap;
}

/// Returns where the page lies; empty: there is none, or it could not be written, which is a warning.
std::string try_to_write_report(Cutover& run, const std::string& directory, const nlohmann::json& report) {
  if (directory.empty()) return {};
  try {
    return write_report(directory, report);
  } catch (const Error& error) {
    run.warnings.push_back(fmt::format("there is no report: {}", error.what()));
    return {};
  }
}

}  // namespace

std::string write_report(const std::string& directory, const nlohmann::json& report) {
  write_file(directory + "/report.json", json_text(report, 2) + "\n");
  std::string page = directory + "/report.html";
  write_file(page, report_page(report));
  return page;
}

Invocation::Invocation(Options asked, const Arguments& arguments, std::string cutover_id, const OnServerStatement& told)
    : options(std::move(asked)),
      id(std::move(cutover_id)),
      servers(make_servers(options.pair, id, options.siblings, told)),
      exporter(http::make_client(options.exporter_url, options.exporter_access)),
      traffic(make_traffics(options, traffic_context(options, id))),
      node_control(make_node_control(options.node_control,
                                     {options.pair.old_primary, options.pair.new_primary, options.standby_slot})),
      progress(arguments.json ? nullptr : &std::cout, on_terminal(),
               on_terminal() && std::getenv("NO_COLOR") == nullptr) {}

Cutover Invocation::cutover(std::stop_token stop) {
  return {Means{options, servers, *exporter, traffic, *node_control, pgrm::system_clock(), std::move(stop)},
          Known{.id = id}, Told{.progress = progress}};
}

Options options_of(const Settings& settings, const Arguments& arguments) {
  Options options = options_from(settings);
  options.rehearsal = arguments.rehearse;
  options.warm = arguments.warm;
  options.switch_back = arguments.switch_back;
  options.ha_manager_paused = arguments.ha_manager_paused;
  options.lose_logical_slots = arguments.lose_logical_slots;
  if (options.switch_back) std::swap(options.pair.old_primary, options.pair.new_primary);
  return options;
}

TrafficContext traffic_context(const Options& options, const std::string& cutover_id) {
  return {cutover_id, options.pair.old_primary.address(), options.pair.new_primary.address(),
          options.pair.old_primary.get("dbname")};
}

void confirm(const Options& options, const std::string& what, const std::stop_token& stop) {
  if (isatty(STDIN_FILENO) == 0) {
    throw Error(ErrorCode::usage, "without a terminal this needs --yes", "try first: agent cutover --dry-run");
  }
  const std::string name = options.pair.old_primary.get("dbname");
  std::cerr << fmt::format("{}.\nType the database's name ({}) to go on: ", what, name) << std::flush;
  if (read_answer(stop) != name) throw Error(ErrorCode::usage, "not confirmed, nothing was changed");
}

int report_outcome(Cutover& run, const Outcome& outcome, const Arguments& arguments, const std::string& directory,
                   const std::function<void()>& watch) {
  const nlohmann::json gap =
      outcome.promoted && !needs_recovery(outcome.exit_code) ? ask_client_gap(run.options) : nlohmann::json();
  const auto report = [&] { return make_report(run, outcome, arguments.dry_run, gap); };
  const std::string path = try_to_write_report(run, directory, report());
  if (!arguments.json) {
    if (!passed(run.findings)) print_findings(std::cout, run.findings, arguments.all);
    print_summary(std::cout, report(), path);
  }
  if (watch) {
    watch();
    try_to_write_report(run, directory, report());
  }
  if (arguments.json) std::cout << json_text(report(), 2) << '\n';
  return outcome.exit_code;
}

nlohmann::json about(const Cutover& run) {
  return {{"id", run.id},
          {"system_identifier", run.system_identifier},
          {"timeline", run.old_timeline},
          {"switch_back", run.options.switch_back},
          {"old_primary", run.options.pair.old_primary.address()},
          {"new_primary", run.options.pair.new_primary.address()}};
}

}  // namespace pgrm::agent
