#include <fmt/format.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <termios.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <iostream>
#include <utility>

#include "agent/base/state_dir.h"
#include "agent/commands/all_pairs.h"
#include "agent/commands/invocation.h"
#include "agent/compare/watch.h"
#include "agent/engine/acts.h"
#include "agent/engine/guard.h"
#include "agent/engine/kill_point.h"
#include "agent/view/live_view.h"
#include "agent/view/metrics.h"
#include "agent/view/pair_watch.h"
#include "agent/view/report.h"
#include "agent/view/screen.h"
#include "core/base/error.h"
#include "core/base/json_text.h"

namespace pgrm::agent {
namespace {

namespace fs = std::filesystem;

/// How long the end of a cutover is kept for Prometheus: longer than most scrape intervals, short enough for a script.
constexpr Duration last_scrape_patience = std::chrono::seconds(20);

/// Between two looks at the pair while a cutover runs: for the lag curve.
constexpr Duration look_interval = std::chrono::milliseconds(100);

/// A new journal would hide the one of the same cluster that still has to be recovered from.
void refuse_unsettled(const std::string& state_dir, const std::string& system_identifier) {
  const auto last = newest_with(state_dir, "journal.jsonl", system_identifier);
  if (!last) return;
  const auto records = parse_journal(read_file(*last + "/journal.jsonl"));
  if (records.empty() || settled(records)) return;
  throw Error(ErrorCode::preflight_refused, "the cutover of " + *last + " has not come to its end",
              "first: agent recover");
}

/// The guard is a process of its own, and reads the password by itself. Throws Error(usage).
void require_password_for_guard(const Options& options) {
  std::vector<const Conninfo*> servers{&options.pair.old_primary, &options.pair.new_primary};
  for (const auto* const others : {&options.poolers, &options.siblings}) {
    for (const Conninfo& other : *others) servers.push_back(&other);
  }
  for (const Conninfo* const server : servers) {
    const std::string& file = server->password_file();
    std::error_code problem;
    if (file.empty() || !fs::exists(file, problem) || fs::is_regular_file(file, problem)) continue;
    throw Error(ErrorCode::usage, fmt::format("{} can be read only once, and the guard reads the password too", file),
                "put the password into a regular file, or use --no-guard");
  }
}

/// Its directory is there, and the file is not. What cannot be looked at is not known to be gone.
bool is_gone(const fs::path& file) {
  std::error_code problem;
  const fs::path directory = file.has_parent_path() ? file.parent_path() : ".";
  return fs::status(file, problem).type() == fs::file_type::not_found && fs::is_directory(directory, problem);
}

/// What --hold waits for, see Means::held_by. Throws Error(usage) for what would hold nothing.
std::function<std::string()> held_by(const std::string& file) {
  if (!file.empty()) {
    if (is_gone(file)) throw Error(ErrorCode::usage, "--hold " + file + ": there is no such file", "create it first");
    return [file] { return is_gone(file) ? std::string() : "until " + file + " is gone"; };
  }
  if (isatty(STDIN_FILENO) == 0) {
    throw Error(ErrorCode::usage, "without a terminal nobody can press Enter", "--hold FILE waits until FILE is gone");
  }
  return [entered = false, before = true]() mutable {
    // What was typed before there was anything to hold, a second Enter after the database's name for one.
    if (std::exchange(before, false)) tcflush(STDIN_FILENO, TCIFLUSH);
    pollfd input{STDIN_FILENO, POLLIN, 0};
    for (char c = 0; !entered && poll(&input, 1, 0) > 0 && read(STDIN_FILENO, &c, 1) == 1;) entered = c == '\n';
    return entered ? std::string() : "for Enter; Ctrl-C leaves everything as it is";
  };
}

/// The look of `agent compare --begin`, when there is one.
std::optional<WorkloadSnapshot> look_of_before(const std::string& state_dir) {
  const std::string path = state_dir + "/" + workload_file;
  if (!fs::exists(path)) return std::nullopt;
  try {
    return record_from_json(nlohmann::json::parse(read_file(path))).begin;
  } catch (const std::exception& failure) {
    spdlog::warn("{} makes no sense: {}", path, failure.what());
    return std::nullopt;
  }
}

/// For `agent compare`, at any later time. Nothing else depends on it.
void keep_workload(Cutover& run, const std::string& directory) {
  try {
    write_file(directory + "/" + workload_file, json_text(to_json(run.workload)) + "\n");
  } catch (const Error& error) {
    run.warnings.push_back(fmt::format("agent compare will not know what was before: {}", error.what()));
  }
}

/// The new primary is looked at: here its window begins.
void begin_after(Cutover& run, const std::string& directory) {
  look_at_opened(run);
  keep_workload(run, directory);
  std::error_code none;  // or it was never there
  fs::remove(run.options.state_dir + "/" + workload_file, none);
}

/// How the application fares on the new primary. The cutover is done, whatever is seen.
void watch_new_primary(Invocation& invocation, Cutover& run) {
  Progress& progress = invocation.progress;
  const bool terminal = isatty(STDOUT_FILENO) != 0;
  Mono told{};
  progress.begins(watch_phase, "how the application fares on the new primary", watch_phase);
  const Mono began = run.clock.now();
  const WatchedSoFar seen = watch_after({.new_primary = run.servers.new_primary,
                                         .options = run.options,
                                         .clock = run.clock,
                                         .stop = run.stop,
                                         .tells =
                                             [&](const std::string& line) {
                                               // In a pipe each is a line of its own.
                                               if (!terminal && run.clock.now() - told < std::chrono::seconds(10))
                                                 return;
                                               told = run.clock.now();
                                               progress.waits(line);
                                             },
                                         .shows = [&](const WatchedSoFar& so_far) { progress.watched(so_far); }},
                                        run.workload);
  progress.watched(seen);
  progress.ends("done", run.clock.now() - began, seen.comparison.line);
  for (const std::string& note : seen.comparison.notes) progress.says("           " + note);
  progress.says("  " + seen.back.text());
  progress.concluded(0);
  run.comparison = seen.comparison;
  run.way_back = seen.back.text();
}

int look_only(Invocation& invocation, Cutover& run, std::optional<LiveView>& view, const Arguments& arguments) {
  const Outcome outcome = dry_run(run);
  invocation.progress.concluded(outcome.exit_code);
  view.reset();
  return report_outcome(run, outcome, arguments, {});
}

}  // namespace

int cutover(const Settings& settings, const Arguments& arguments, std::stop_token stop, const LogTo& log_to) {
  Invocation invocation(options_of(settings, arguments), arguments, new_cutover_id(pgrm::system_clock().wall()));
  const Options& options = invocation.options;
  std::optional<StateLock> lock;
  if (!arguments.dry_run) {
    if (!arguments.yes) {
      const std::string old = options.pair.old_primary.address();
      confirm(options,
              options.rehearsal
                  ? fmt::format("Writes to {} will be stopped for a moment, and go on there", old)
                  : fmt::format("{} will become the primary instead of {}", options.pair.new_primary.address(), old),
              stop);
    }
    if (arguments.guarded) require_password_for_guard(options);
    lock.emplace(options.state_dir);
  }
  Cutover run = invocation.cutover(std::move(stop));
  if (arguments.hold && !arguments.dry_run) run.held_by = held_by(*arguments.hold);
  std::string directory;
  std::optional<Guard> guard;
  const OpenJournal open_journal = [&](const Cutover& now) {
    refuse_unsettled(options.state_dir, now.system_identifier);
    directory = make_cutover_directory(options.state_dir, pgrm::system_clock().wall(), now.system_identifier);
    log_to(directory + "/agent.log");
    // First the guard: if it cannot start, there is no journal to recover from.
    if (arguments.guarded) guard.emplace(arguments.command_line, directory + "/guard.log");
    return std::make_unique<Journal>(with_kill_point(create_journal_file(directory + "/journal.jsonl")),
                                     pgrm::system_clock(), about(now), options_to_json(options));
  };
  run.on_step = [&](const Step& step) {
    if (guard) guard->expects(step.time_limit == nullptr ? std::nullopt : std::optional(step.time_limit(options)));
  };
  run.workload.begin = look_of_before(options.state_dir);
  run.on_workload = [&] { keep_workload(run, directory); };
  std::optional<PairWatch> watch;
  watch.emplace(
      options, invocation.id, look_interval, [&] { return on_critical_path(invocation.progress.standing()); },
      invocation.progress.lag(), pgrm::system_clock());
  const std::string title = fmt::format(
      "{}: {} -> {}", arguments.dry_run ? "dry run" : (options.rehearsal ? "rehearsal " : "cutover ") + invocation.id,
      options.pair.old_primary.address(), options.pair.new_primary.address());
  std::optional<LiveView> view;
  if (!arguments.json && Style::of_terminal().width > 0 && isatty(STDOUT_FILENO) != 0) {
    view.emplace(std::cout, title, invocation.progress, *watch, pgrm::system_clock());
  } else {
    invocation.progress.says(title);
  }
  if (arguments.dry_run) return look_only(invocation, run, view, arguments);
  std::optional<MetricsServer> metrics;
  if (!options.listen.empty())
    metrics.emplace(options.listen, options.web_config, invocation.progress, pgrm::system_clock());
  const Outcome outcome = run_cutover(run, open_journal);
  invocation.progress.concluded(outcome.exit_code);
  view.reset();
  if (guard && needs_recovery(outcome.exit_code)) {
    run.warnings.push_back(
        fmt::format("the guard (pid {}) goes on trying to recover; its log is {}/guard.log", guard->pid(), directory));
  } else if (guard) {
    guard->dismiss();
  }
  // Nobody has to wait for what follows, least of all the guard.
  const auto let_go = [&] {
    lock.reset();
    invocation.servers.lock->disconnect();
    guard.reset();
    watch.reset();
  };
  // The application may still stand, and the guard begins when this ends.
  if (outcome.promoted && !needs_recovery(outcome.exit_code)) begin_after(run, directory);
  std::function<void()> then;
  if (outcome.promoted && outcome.exit_code == 0 && options.watch_after > Duration::zero()) {
    then = [&] {
      let_go();
      watch_new_primary(invocation, run);
    };
  }
  const int exit_code = report_outcome(run, outcome, arguments, directory, then);
  let_go();
  if (metrics) metrics->await_last_scrape(last_scrape_patience, run.stop);
  return exit_code;
}

int dry_run_all(const std::vector<Settings>& pairs, const Arguments& arguments, const std::stop_token& stop) {
  Arguments silent = arguments;
  silent.json = true;
  return judge_all(pairs, arguments, stop, "agent cutover --dry-run", [&](const Settings& pair) {
    Invocation invocation(options_of(pair, arguments), silent, new_cutover_id(pgrm::system_clock().wall()));
    Cutover run = invocation.cutover(stop);
    const Outcome outcome = dry_run(run);
    return PairJudged{.findings = run.findings,
                      .exit_code = outcome.exit_code,
                      .message = outcome.message,
                      .pause = run.prediction ? std::optional(run.prediction->total()) : std::nullopt,
                      .json = make_report(run, outcome, true, {})};
  });
}

}  // namespace pgrm::agent
