#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <filesystem>
#include <iostream>
#include <optional>
#include <utility>

#include "agent/base/state_dir.h"
#include "agent/commands/invocation.h"
#include "agent/compare/watch.h"
#include "agent/view/comparison_view.h"
#include "core/base/error.h"
#include "core/base/json_text.h"

namespace pgrm::agent {
namespace {

namespace fs = std::filesystem;

struct Found {
  std::string directory;
  WorkloadRecord record;
};

/// The newest cutover of these two servers that has kept its looks.
Found newest_record(const Options& options) {
  const std::string one = options.pair.old_primary.address(), other = options.pair.new_primary.address();
  for (const std::string& directory : directories_with(options.state_dir, workload_file)) {
    const std::string path = directory + "/" + workload_file;
    try {
      WorkloadRecord record = record_from_json(nlohmann::json::parse(read_file(path)));
      const bool ours = (record.old_primary == one && record.new_primary == other) ||
                        (record.old_primary == other && record.new_primary == one);
      // One that was undone has never opened a new primary.
      if (ours && fs::exists(directory + "/report.json") &&
          nlohmann::json::parse(read_file(directory + "/report.json")).value("promoted", false)) {
        return {directory, std::move(record)};
      }
    } catch (const std::exception& failure) {  // damaged, or of another version: perhaps of another pair
      spdlog::warn("{} is passed over: {}", path, failure.what());
    }
  }
  throw Error(ErrorCode::file_failed,
              fmt::format("no cutover between {} and {} has kept a look in {}", one, other, options.state_dir),
              "agent compare --begin takes the first look, before the next cutover");
}

WorkloadSnapshot look_at(const Server& server, Duration deadline) { return server.workload()->snapshot(deadline); }

/// The one that is out of recovery.
std::pair<Server*, const Conninfo*> primary_of(Invocation& invocation) {
  const Duration deadline = invocation.options.call_deadline;
  const PairByRole& pair = invocation.options.pair;
  const bool first = !invocation.servers.old_primary.admin->in_recovery(deadline);
  const bool second = !first && !invocation.servers.new_primary.admin->in_recovery(deadline);
  if (!first && !second) throw Error(ErrorCode::preflight_refused, "neither server is a primary", "agent status");
  if (first) return {&invocation.servers.old_primary, &pair.old_primary};
  return {&invocation.servers.new_primary, &pair.new_primary};
}

/// The look is kept in STATE_DIR until a cutover has used it.
int begin(Invocation& invocation, bool json) {
  const Options& options = invocation.options;
  const auto [server, conninfo] = primary_of(invocation);
  WorkloadRecord record{.old_primary = conninfo->address()};
  record.begin = look_at(*server, options.call_deadline);
  std::error_code ignored;  // write_file() says what is wrong
  fs::create_directories(options.state_dir, ignored);
  const std::string path = options.state_dir + "/" + workload_file;
  write_file(path, json_text(to_json(record)) + "\n");
  const bool statements = record.begin->statements.has_value();
  if (json) {
    std::cout << json_text(
                     {{"primary", record.old_primary},
                      {"at", to_iso8601(record.begin->at)},
                      {"statements", statements ? nlohmann::json(record.begin->statements->size()) : nlohmann::json()},
                      {"file", path}},
                     2)
              << '\n';
    return 0;
  }
  std::cout << fmt::format("{} was looked at: the window before the next cutover begins now\n", record.old_primary);
  if (!statements) {
    std::cout << fmt::format("statements are not known: {}\nhint: {}\n", record.begin->statements_problem,
                             record.begin->statements_hint);
  }
  return 0;
}

/// It stands in the report of that cutover as well.
void add_to_report(const std::string& directory, const Comparison& comparison) {
  nlohmann::json report = nlohmann::json::parse(read_file(directory + "/report.json"));
  report["comparison"] = to_json(comparison);
  write_report(directory, report);
}

}  // namespace

int compare(const Settings& settings, const Arguments& arguments, const std::stop_token& stop) {
  Invocation invocation(options_of(settings, arguments), arguments, new_cutover_id(pgrm::system_clock().wall()));
  const Options& options = invocation.options;
  if (arguments.begin) return begin(invocation, arguments.json);
  Found found = newest_record(options);
  const bool back = found.record.new_primary == options.pair.old_primary.address();
  const Server& server = back ? invocation.servers.old_primary : invocation.servers.new_primary;
  if (arguments.over) {
    found.record.opened = look_at(server, options.call_deadline);
    pgrm::system_clock().sleep_for(from_seconds(*arguments.over), stop);
  }
  Comparison comparison =
      compare(window_before(found.record), window_after(found.record, look_at(server, options.call_deadline)));
  name_statements(comparison, server, options.call_deadline);
  add_to_report(found.directory, comparison);
  if (arguments.json) {
    std::cout << json_text(to_json(comparison), 2) << '\n';
  } else {
    print_comparison(std::cout, comparison);
    std::cout << fmt::format("\n  report: {}/report.html\n", found.directory);
  }
  return 0;
}

}  // namespace pgrm::agent
