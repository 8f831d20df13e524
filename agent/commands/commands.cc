#include "agent/commands/commands.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <utility>

#include "agent/base/state_dir.h"
#include "agent/demote/rejoin.h"
#include "agent/engine/guard.h"
#include "agent/engine/kill_point.h"
#include "agent/view/live_view.h"
#include "agent/view/metrics.h"
#include "agent/view/pair_watch.h"
#include "agent/view/report.h"
#include "agent/view/status_view.h"
#include "core/base/error.h"
#include "core/base/json_text.h"
#include "core/base/wait.h"

namespace pgrm::agent {
namespace {

/// How long the end of a cutover is kept for Prometheus: longer than most scrape intervals, short enough for a script.
constexpr Duration last_scrape_patience = std::chrono::seconds(20);

/// Between two looks of `status --watch` unless MONITORING_INTERVAL says otherwise.
constexpr Duration watch_interval = std::chrono::seconds(1);

/// Between two looks at the pair while a cutover runs: for the lag curve.
constexpr Duration look_interval = std::chrono::milliseconds(100);

/// One invocation: options, connections and drivers, made once for whichever command runs.
struct Session {
  Options options;
  std::string id;
  Servers servers;
  std::unique_ptr<http::Client> exporter;
  Traffics traffic;
  Progress progress;

  std::unique_ptr<NodeControl> node_control;

  Session(const Settings& settings, const Arguments& arguments, std::string cutover_id)
      : options(directed(options_from(settings), arguments.switch_back)),
        id(std::move(cutover_id)),
        servers(make_servers(options.pair, id, options.siblings)),
        exporter(http::make_client(options.exporter_url, options.exporter_access)),
        progress(arguments.json ? nullptr : &std::cout, isatty(STDOUT_FILENO) != 0,
                 isatty(STDOUT_FILENO) != 0 && std::getenv("NO_COLOR") == nullptr) {
    const auto told = [&](const char* driver) {
      return std::ranges::find(arguments.traffic, driver) != arguments.traffic.end();
    };
    options.stop_loadgen = told("loadgen");
    options.pause_poolers = told("pgbouncer");
    options.hooks_directory = arguments.hooks;
    options.fence = arguments.fence;
    options.demotion = arguments.demotion;
    options.rehearsal = arguments.rehearse;
    traffic = make_traffics(options, {id, options.pair.primary.address(), options.pair.replica.address(),
                                      options.pair.primary.get("dbname")});
    node_control =
        make_node_control(options.node_control, {options.pair.primary, options.pair.replica, options.standby_slot});
  }

  /// The pair as this command means it: `primary` is the server that is, or was, the primary.
  static Options directed(Options options, bool switch_back) {
    options.switch_back = switch_back;
    if (switch_back) std::swap(options.pair.primary, options.pair.replica);
    return options;
  }

  Cutover cutover(std::stop_token stop) {
    return {options, servers, *exporter, traffic, *node_control, pgrm::system_clock(), progress, std::move(stop), id};
  }
};

/// `what` will happen: a sentence.
void confirm(const Options& options, const std::string& what) {
  if (isatty(STDIN_FILENO) == 0) {
    throw Error(ErrorCode::usage, "without a terminal this needs --yes", "try first: agent cutover --dry-run");
  }
  const std::string name = options.pair.primary.get("dbname");
  std::cerr << fmt::format("{}.\nType the database's name ({}) to go on: ", what, name);
  std::string answer;
  std::getline(std::cin, answer);
  if (answer != name) throw Error(ErrorCode::usage, "not confirmed, nothing was changed");
}

/// The write gap of this cutover as loadgen's clients saw it, when loadgen is there to tell. A gap ends with the next
/// acknowledged write: it is waited for, but not long.
nlohmann::json ask_client_gap(const Options& options) {
  nlohmann::json gap;
  if (!options.stop_loadgen) return gap;
  try {
    const auto loadgen = http::make_client(options.loadgen_url, options.loadgen_token);
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

/// Writes and prints the report. Never throws Error: the outcome is what it is, whether it can be written down or not.
int conclude(Cutover& run, const Outcome& outcome, const Arguments& arguments, const std::string& directory) {
  const nlohmann::json gap = outcome.promoted ? ask_client_gap(run.options) : nlohmann::json();
  std::string path;
  if (!directory.empty()) {
    try {
      path = directory + "/report.json";
      const nlohmann::json written = make_report(run, outcome, arguments.dry_run, gap);
      write_file(path, json_text(written, 2) + "\n");
      path = directory + "/report.html";
      write_file(path, report_page(written));
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

/// What a recovery must know of the command line that it finishes.
nlohmann::json to_json(const Arguments& arguments) {
  return {{"traffic", arguments.traffic},
          {"hooks", arguments.hooks},
          {"fence", arguments.fence ? nlohmann::json(to_string(*arguments.fence)) : nlohmann::json()},
          {"demote", to_string(arguments.demotion)},
          {"switch_back", arguments.switch_back}};
}

Arguments with_journaled(Arguments arguments, const nlohmann::json& was) {
  arguments.traffic = was.at("traffic").get<std::vector<std::string>>();
  arguments.hooks = was.at("hooks");
  if (!was.at("fence").is_null()) arguments.fence = fence_form(was.at("fence").get<std::string>());
  arguments.demotion = demotion(was.at("demote").get<std::string>());
  arguments.switch_back = was.at("switch_back");
  return arguments;
}

/// How long a step may take until the guard ends the agent. The last one has all the time it wants: by then the
/// application writes again.
std::optional<Duration> guarded_time(const Options& options, const Step& step, std::size_t drivers) {
  if (step.name == "demote_old") return std::nullopt;
  return (drivers + 3) * options.drain_timeout + options.promote_timeout + std::chrono::seconds(30);
}

/// Whether somebody has to go on after this.
bool needs_recovery(int exit_code) {
  return exit_code == error_row(ErrorCode::unfinished).exit_code ||
         exit_code == error_row(ErrorCode::undecided).exit_code;
}

/// The advisory lock, unless the old primary cannot be asked: then nobody else can hold it there either. The session of
/// an agent that was killed takes a moment to end.
void keep_others_out(Session& session) {
  Node& lock = *session.servers.lock;
  try {
    const auto held = [&] { return lock.try_lock(session.options.call_deadline); };
    if (wait_until(pgrm::system_clock(), std::chrono::seconds(5), std::chrono::milliseconds(50), {}, held) ==
        WaitEnd::reached) {
      return;
    }
    throw Error(
        ErrorCode::preflight_refused,
        fmt::format("{} holds the advisory lock on the primary", lock.lock_holder(session.options.call_deadline)),
        "wait until it has ended");
  } catch (const Error& error) {
    if (error.code() == ErrorCode::preflight_refused) throw;
    spdlog::warn("the old primary does not give its lock: {}", error.what());
  }
}

/// Recovers the newest cutover of the state directory once, with its log in `log` beside the journal.
int recover_newest(const Settings& settings, const Arguments& arguments, std::stop_token stop, const LogTo& log_to,
                   const std::string& log) {
  const std::string state_dir = settings.text("STATE_DIR");
  const StateLock state_lock(state_dir);
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
  if (settled(records)) {
    std::cout << "nothing to recover: that cutover has come to its end\n";
    return 0;
  }
  const nlohmann::json& was = records.front().fields.at("cutover");
  Session session(settings, with_journaled(arguments, records.front().fields.at("arguments")), was.at("id"));
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
  if (session.options.pause_poolers && session.options.poolers.empty()) {
    throw Error(ErrorCode::configuration, "the cutover paused poolers, and none is named",
                "give recover the same PGBOUNCER_DSN and PGBOUNCER_DATABASES as the cutover had");
  }
  log_to(*directory + "/" + log);
  keep_others_out(session);
  Journal journal(reopen_journal_file(path), pgrm::system_clock());
  session.progress.says(fmt::format("recovering cutover {}: {} -> {}", run.id, run.options.pair.primary.address(),
                                    run.options.pair.replica.address()));
  return conclude(run, recover(run, journal, records, arguments.decision), arguments, *directory);
}

}  // namespace

int preflight(const Settings& settings, const Arguments& arguments) {
  Session session(settings, arguments, new_cutover_id(pgrm::system_clock().wall()));
  const auto findings = judge(gather_facts(session.servers, *session.exporter, session.traffic, *session.node_control,
                                           session.options, pgrm::system_clock()));
  if (arguments.json) {
    std::cout << json_text({{"passed", passed(findings)}, {"checks", findings_to_json(findings)}}, 2) << '\n';
  } else {
    print_findings(std::cout, findings, true);
    std::cout << '\n' << (passed(findings) ? "READY: " : "REFUSED: ") << sum_up(findings) << '\n';
  }
  return passed(findings) ? 0 : error_row(ErrorCode::preflight_refused).exit_code;
}

int status(const Settings& settings, const Arguments& arguments, const std::stop_token& stop) {
  Session session(settings, arguments, new_cutover_id(pgrm::system_clock().wall()));
  const Clock& clock = pgrm::system_clock();
  const Duration interval =
      settings.given("MONITORING_INTERVAL") ? settings.seconds("MONITORING_INTERVAL", 0.05, 3600) : watch_interval;
  const bool in_place = arguments.watch && isatty(STDOUT_FILENO) != 0;
  LagHistory history;
  Block block(std::cout);
  bool blind = false;
  do {
    const PairLook look = look_at_pair(*session.servers.primary.admin, *session.servers.replica.admin,
                                       *session.exporter, clock, session.options.call_deadline);
    blind = !look.sample.primary.state && !look.sample.replica.state;
    if (const auto behind = pair_lag(look.sample).replay_bytes) history.add(clock.now(), *behind);
    const Style style = Style::of_terminal();
    const Lines lines = status_lines(look, history.points(), style);
    if (arguments.json) {
      std::cout << json_text(status_to_json(look), arguments.watch ? -1 : 2) << std::endl;
    } else if (in_place) {
      block.draw(lines, style);
    } else if (arguments.watch) {
      std::cout << status_line(look) << std::endl;
    } else {
      for (const Line& line : lines) std::cout << line.render({0, style.colour, style.unicode}) << '\n';
    }
  } while (arguments.watch && std::cout && !clock.sleep_for(interval, stop));
  return blind ? error_row(ErrorCode::unreachable).exit_code : 0;
}

/// A new journal would hide the one of the same cluster that still has to be recovered from.
static void refuse_unsettled(const std::string& state_dir, const std::string& system_identifier) {
  const auto last = newest_with(state_dir, "journal.jsonl", system_identifier);
  if (!last) return;
  const auto records = parse_journal(read_file(*last + "/journal.jsonl"));
  if (records.empty() || settled(records)) return;
  throw Error(ErrorCode::preflight_refused, "the cutover of " + *last + " has not come to its end",
              "first: agent recover");
}

int cutover(const Settings& settings, const Arguments& arguments, std::stop_token stop, const LogTo& log_to) {
  Session session(settings, arguments, new_cutover_id(pgrm::system_clock().wall()));
  const Options& options = session.options;
  std::optional<StateLock> lock;
  if (!arguments.dry_run) {
    if (!arguments.yes) {
      confirm(options, fmt::format("{} will become the primary instead of {}", options.pair.replica.address(),
                                   options.pair.primary.address()));
    }
    lock.emplace(options.state_dir);
  }
  Cutover run = session.cutover(std::move(stop));
  std::string directory;
  std::optional<Guard> guard;
  const OpenJournal open_journal = [&](const Cutover& now) {
    refuse_unsettled(options.state_dir, now.system_identifier);
    directory = make_cutover_directory(options.state_dir, pgrm::system_clock().wall(), now.system_identifier);
    log_to(directory + "/agent.log");
    auto journal = std::make_unique<Journal>(with_kill_point(create_journal_file(directory + "/journal.jsonl")),
                                             pgrm::system_clock(), about(now), to_json(arguments));
    if (arguments.guarded) guard.emplace(arguments.command_line, directory + "/guard.log");
    return journal;
  };
  run.on_step = [&](const Step& step) {
    if (guard) guard->expects(guarded_time(options, step, session.traffic.size()));
  };
  const PairWatch watch(
      options, session.id, look_interval, [&] { return on_critical_path(session.progress.standing()); },
      session.progress.lag(), pgrm::system_clock());
  const std::string title = fmt::format(
      "{}: {} -> {}", arguments.dry_run ? "dry run" : (options.rehearsal ? "rehearsal " : "cutover ") + session.id,
      options.pair.primary.address(), options.pair.replica.address());
  std::optional<LiveView> view;
  if (!arguments.json && Style::of_terminal().width > 0 && isatty(STDOUT_FILENO) != 0) {
    view.emplace(std::cout, title, session.progress, watch, pgrm::system_clock());
  } else {
    session.progress.says(title);
  }
  if (arguments.dry_run) {
    const Outcome outcome = dry_run(run);
    if (outcome.exit_code == 0) run.prediction = try_predict(run);
    view.reset();
    return conclude(run, outcome, arguments, directory);
  }
  std::optional<MetricsServer> metrics;
  if (!options.listen.empty()) metrics.emplace(options.listen, session.progress, pgrm::system_clock());
  const Outcome outcome = run_cutover(run, open_journal);
  if (guard && needs_recovery(outcome.exit_code)) {
    run.warnings.push_back(
        fmt::format("the guard (pid {}) goes on trying to recover; its log is {}/guard.log", guard->pid(), directory));
  } else if (guard) {
    guard->dismiss();
  }
  session.progress.concluded(outcome.exit_code);
  view.reset();
  const int exit_code = conclude(run, outcome, arguments, directory);
  if (metrics) {
    lock.reset();  // nobody has to wait for Prometheus
    session.servers.lock->disconnect();
    metrics->await_last_scrape(last_scrape_patience, run.stop);
  }
  return exit_code;
}

int recover(const Settings& settings, const Arguments& arguments, std::stop_token stop, const LogTo& log_to) {
  try {
    return recover_newest(settings, arguments, std::move(stop), log_to, "agent.log");
  } catch (const Error& error) {
    // Who could not look cannot tell, whatever stopped him: another agent, a journal that is damaged.
    if (error.code() == ErrorCode::configuration) throw;
    throw Error(ErrorCode::undecided, error.what(), error.hint());
  }
}

int guard(const Settings& settings, const Arguments& arguments, const std::stop_token& stop, const LogTo& log_to) {
  constexpr auto patience = std::chrono::minutes(10);
  const pid_t agent = getppid();
  const Watched watched = watch(arguments.guard_pipe.value());
  if (watched == Watched::dismissed) return 0;
  std::cout << to_iso8601(pgrm::system_clock().wall()) << " the agent (pid " << agent << ") "
            << (watched == Watched::died ? "is gone" : "has overrun its time and is killed") << ": recovering\n"
            << std::flush;
  // Two that act would be worse than none. Only the one that started us, and only while it still is our parent.
  if (watched == Watched::overran && getppid() == agent) kill(agent, SIGKILL);
  return recover_until_settled([&] { return recover_newest(settings, arguments, stop, log_to, "guard.log"); },
                               pgrm::system_clock(), patience, stop);
}

int rejoin(const Settings& settings, const Arguments& arguments, std::stop_token stop, const LogTo& log_to) {
  const StateLock lock(settings.text("STATE_DIR"));
  const std::string id = new_cutover_id(pgrm::system_clock().wall());
  Arguments directed = arguments;
  {
    const Options options = options_from(settings);
    Servers seen = make_servers(options.pair, id);
    const Sample sample =
        observe_pair(*seen.primary.admin, *seen.replica.admin, 1, pgrm::system_clock(), options.call_deadline);
    directed.switch_back = find_new_primary(sample) == Side::primary;
  }
  Session session(settings, directed, id);
  const Options& options = session.options;
  if (!arguments.yes) {
    confirm(options, fmt::format("{} will be stopped, rewound and started as a standby of {}",
                                 options.pair.primary.address(), options.pair.replica.address()));
  }
  log_to(options.state_dir + "/rejoin.log");
  session.progress.begins("rejoin", "the old primary becomes a standby of the new one");
  const Mono start = pgrm::system_clock().now();
  const Rejoin rejoin{session.servers.primary,
                      session.servers.replica,
                      *session.node_control,
                      options,
                      pgrm::system_clock(),
                      std::move(stop),
                      [&session](const std::string& what) { session.progress.waits(what); }};
  std::string evidence;
  try {
    evidence = make_standby(rejoin);
  } catch (const Error& error) {
    session.progress.ends("failed", pgrm::system_clock().now() - start, error.what());
    throw;
  }
  session.progress.ends("done", pgrm::system_clock().now() - start,
                        fmt::format("{} {}", options.pair.primary.address(), evidence));
  if (arguments.json) {
    std::cout << json_text({{"standby", options.pair.primary.address()},
                            {"primary", options.pair.replica.address()},
                            {"evidence", evidence}},
                           2)
              << '\n';
  }
  return 0;
}

int report(const Settings& settings, const Arguments& arguments) {
  const std::string state_dir = settings.text("STATE_DIR");
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

}  // namespace pgrm::agent
