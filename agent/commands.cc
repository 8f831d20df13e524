#include "agent/commands.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <utility>

#include "agent/report.h"
#include "agent/state_dir.h"
#include "agent/status_view.h"
#include "core/base/error.h"
#include "core/base/json_text.h"
#include "core/base/wait.h"

namespace pgrm::agent {
namespace {

/// One invocation: options, connections and drivers, made once for whichever command runs.
struct Session {
  Options options;
  std::string id;
  Servers servers;
  std::unique_ptr<http::Client> exporter;
  Traffics traffic;
  Progress progress;

  Session(const Settings& settings, const Arguments& arguments, std::string cutover_id)
      : options(options_from(settings)),
        id(std::move(cutover_id)),
        servers(make_servers(options.pair, id)),
        exporter(http::make_client(options.exporter_url)),
        progress(arguments.json ? nullptr : &std::cout, isatty(STDOUT_FILENO) != 0,
                 isatty(STDOUT_FILENO) != 0 && std::getenv("NO_COLOR") == nullptr) {
    options.stop_loadgen = std::ranges::find(arguments.traffic, "loadgen") != arguments.traffic.end();
    options.hooks_directory = arguments.hooks;
    traffic = make_traffics(options, {id, options.pair.primary.address(), options.pair.replica.address(),
                                      options.pair.primary.get("dbname")});
  }

  Cutover cutover(std::stop_token stop) {
    return {options, servers, *exporter, traffic, pgrm::system_clock(), progress, std::move(stop), id};
  }
};

void confirm(const Options& options) {
  if (isatty(STDIN_FILENO) == 0) {
    throw Error(ErrorCode::usage, "a cutover without a terminal needs --yes", "try: agent cutover --dry-run");
  }
  const std::string name = options.pair.primary.get("dbname");
  std::cerr << fmt::format("{} will become the primary instead of {}.\nType the database's name ({}) to go on: ",
                           options.pair.replica.address(), options.pair.primary.address(), name);
  std::string answer;
  std::getline(std::cin, answer);
  if (answer != name) throw Error(ErrorCode::usage, "not confirmed, nothing was changed");
}

/// The write gap of this cutover as loadgen's clients saw it, when loadgen is there to tell. A gap ends with the next
/// acknowledged write: it is waited for, but not long.
std::optional<Duration> ask_client_gap(const Options& options) {
  if (!options.stop_loadgen) return std::nullopt;
  std::optional<Duration> gap;
  try {
    const auto loadgen = http::make_client(options.loadgen_url, options.loadgen_token);
    const auto closed = [&] {
      const auto state = nlohmann::json::parse(http::get_ok(*loadgen, "/api/v1/state", std::chrono::seconds(2)));
      const auto& seen = state.at("longest_write_gap_since_pause");
      if (seen.is_null() || seen.at("open").get<bool>()) return false;
      gap = from_seconds(seen.at("seconds").get<double>());
      return true;
    };
    wait_until(pgrm::system_clock(), std::chrono::seconds(5), std::chrono::milliseconds(10), {}, closed);
  } catch (const std::exception& failure) {
    spdlog::warn("loadgen does not tell its write gap: {}", failure.what());
  }
  return gap;
}

std::optional<ExporterState> ask_exporter(const Options& options) {
  try {
    const auto exporter = http::make_client(options.exporter_url);
    return state_from_json(http::get_ok(*exporter, "/api/v1/state", options.call_deadline));
  } catch (const Error&) {
    return std::nullopt;
  }
}

/// Writes and prints the report. Never throws Error: the outcome is what it is, whether it can be written down or not.
int conclude(Cutover& run, const Outcome& outcome, const Arguments& arguments, const std::string& directory) {
  const auto gap = outcome.promoted ? ask_client_gap(run.options) : std::nullopt;
  std::string path;
  if (!directory.empty()) {
    try {
      path = directory + "/report.json";
      write_file(path, json_text(make_report(run, outcome, arguments.dry_run, gap), 2) + "\n");
    } catch (const Error& error) {
      run.warnings.push_back(fmt::format("there is no report: {}", error.what()));
      path.clear();
    }
  }
  const nlohmann::json report = make_report(run, outcome, arguments.dry_run, gap);
  if (arguments.json) {
    std::cout << json_text(report, 2) << '\n';
  } else {
    if (!passed(run.findings)) print_findings(std::cout, run.findings, arguments.all);
    print_summary(std::cout, report, path);
  }
  return outcome.exit_code;
}

nlohmann::json about(const Cutover& run) {
  return {{"id", run.id},
          {"system_identifier", run.system_identifier},
          {"timeline", run.old_timeline},
          {"old_primary", run.options.pair.primary.address()},
          {"new_primary", run.options.pair.replica.address()}};
}

}  // namespace

int preflight(const Settings& settings, const Arguments& arguments) {
  Session session(settings, arguments, new_cutover_id(pgrm::system_clock().wall()));
  const auto findings =
      judge(gather_facts(session.servers, *session.exporter, session.traffic, session.options, pgrm::system_clock()));
  if (arguments.json) {
    std::cout << json_text({{"passed", passed(findings)}, {"checks", findings_to_json(findings)}}, 2) << '\n';
  } else {
    print_findings(std::cout, findings, true);
  }
  return passed(findings) ? 0 : error_row(ErrorCode::preflight_refused).exit_code;
}

int status(const Settings& settings, const Arguments& arguments) {
  Session session(settings, arguments, new_cutover_id(pgrm::system_clock().wall()));
  const Sample sample = observe_pair(*session.servers.primary.admin, *session.servers.replica.admin, 1,
                                     pgrm::system_clock(), session.options.call_deadline);
  print_status(std::cout, sample, ask_exporter(session.options));
  const bool blind = !sample.primary.state && !sample.replica.state;
  return blind ? error_row(ErrorCode::unreachable).exit_code : 0;
}

int cutover(const Settings& settings, const Arguments& arguments, std::stop_token stop, const LogTo& log_to) {
  Session session(settings, arguments, new_cutover_id(pgrm::system_clock().wall()));
  const Options& options = session.options;
  std::optional<StateLock> lock;
  if (!arguments.dry_run) {
    if (!arguments.yes) confirm(options);
    lock.emplace(options.state_dir);
  }
  Cutover run = session.cutover(std::move(stop));
  std::string directory;
  const OpenJournal open_journal = [&](const Cutover& now) {
    directory = make_cutover_directory(options.state_dir, now.id, now.system_identifier);
    log_to(directory + "/agent.log");
    return std::make_unique<Journal>(create_journal_file(directory + "/journal.jsonl"), pgrm::system_clock(),
                                     about(now));
  };
  session.progress.says(fmt::format("{}: {} -> {}", arguments.dry_run ? "dry run" : "cutover " + session.id,
                                    options.pair.primary.address(), options.pair.replica.address()));
  const Outcome outcome = arguments.dry_run ? dry_run(run) : run_cutover(run, open_journal);
  return conclude(run, outcome, arguments, directory);
}

int recover(const Settings& settings, const Arguments& arguments, std::stop_token stop, const LogTo& log_to) {
  const std::string state_dir = settings.text("STATE_DIR");
  const StateLock lock(state_dir);
  const auto directory = newest_with(state_dir, "journal.jsonl");
  if (!directory) {
    std::cout << "nothing to recover: no cutover has begun in " << state_dir << '\n';
    return 0;
  }
  const std::string path = *directory + "/journal.jsonl";
  const auto records = parse_journal(read_file(path));
  if (records.empty()) {
    std::cout << "nothing to recover: " << path << " had not begun\n";
    return 0;
  }
  const nlohmann::json& was = records.front().fields.at("cutover");
  Session session(settings, arguments, was.at("id"));
  Cutover run = session.cutover(std::move(stop));
  run.system_identifier = was.at("system_identifier");
  run.old_timeline = was.at("timeline");
  if (about(run) != was) {
    throw Error(ErrorCode::configuration,
                fmt::format("{} is about {} -> {}, not about {} -> {}", path, was.value("old_primary", "?"),
                            was.value("new_primary", "?"), run.options.pair.primary.address(),
                            run.options.pair.replica.address()),
                "give recover the same PRIMARY_* and REPLICA_* as the cutover had");
  }
  log_to(*directory + "/agent.log");
  Journal journal(reopen_journal_file(path), pgrm::system_clock());
  session.progress.says(fmt::format("recovering cutover {}: {} -> {}", run.id, run.options.pair.primary.address(),
                                    run.options.pair.replica.address()));
  const Outcome outcome = recover(run, journal, records, arguments.decision);
  if (outcome.steps.empty() && outcome.exit_code == 0) {
    session.progress.says(outcome.message);
    return 0;
  }
  return conclude(run, outcome, arguments, *directory);
}

int report(const Settings& settings, const Arguments& arguments) {
  const std::string state_dir = settings.text("STATE_DIR");
  const auto directory = newest_with(state_dir, "report.json");
  if (!directory) {
    throw Error(ErrorCode::file_failed, "no cutover has left a report in " + state_dir, "choose another --state-dir");
  }
  const std::string path = *directory + "/report.json";
  const std::string text = read_file(path);
  if (arguments.json) {
    std::cout << text;
  } else {
    print_summary(std::cout, nlohmann::json::parse(text), path);
  }
  return 0;
}

}  // namespace pgrm::agent
