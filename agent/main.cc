// The agent's command line. What the commands do stands in agent/commands, what a cutover is in agent/engine/steps.cc.
#include <iostream>

#include "agent/base/options.h"
#include "agent/commands/commands.h"
#include "agent/view/explain.h"
#include "core/base/command_line.h"
#include "core/base/json_text.h"
#include "core/base/signals.h"

namespace {

using namespace pgrm;

constexpr auto examples = R"(  {0} preflight                      is everything ready?
  {0} preflight --all-pairs          of every pair of --pairs FILE, in one table
  {0} cutover --dry-run              what would happen, without a single write
  {0} warm                           load what the old primary keeps in its buffers into the new one's
  {0} plan --html >plan.html         every order that the cutover is going to give
  {0} cutover                        cut over; asks for the database's name first
  {0} cutover --hold                 everything up to the moment before writes stop, then wait for Enter
  {0} cutover --yes --json           the same from a script
  {0} cutover --demote standby --node-control /etc/pgrm/node
      and make the old primary a standby of the new one
  {0} cutover --switch-back          the other way round, with the same settings
  {0} rejoin --yes                   make the old primary a standby later
  {0} diverged                       what has the old primary committed that the new one lacks?
  {0} status --watch                 which server is the primary right now, and how far behind is the replica?
  {0} recover --dry-run              an agent died: what would be done?
  {0} recover                        go back or forward, whichever is safe
  {0} recover --traffic none         the same, without the driver that cannot be reached
  {0} guard --watch                  a service that recovers by itself
  {0} compare                        is the application better off on the new primary?
  {0} report                         how the last cutover went
  {0} report --all                   how the last cutover of each pair went
)";

}  // namespace

int main(int argc, char** argv) {
  const Signals signals;
  CommandLine line(argv[0], "Cuts a live PostgreSQL over to its streaming replica.", examples);
  CLI::App& app = line.app();
  app.require_subcommand(1);
  line.add_settings(app, {"POSTGRES_USER",
                          "POSTGRES_DB",
                          "PRIMARY_HOST",
                          "PRIMARY_PORT",
                          "REPLICA_HOST",
                          "REPLICA_PORT",
                          "PRIMARY_DSN",
                          "REPLICA_DSN",
                          "LAG_THRESHOLD_BYTES",
                          "LAG_THRESHOLD_SECONDS",
                          "REQUIRED_SYNC_CHECKS",
                          "SYNC_TIMEOUT",
                          "EXPORTER_URL",
                          "EXPORTER_USER",
                          "EXPORTER_CA_FILE",
                          "STATE_DIR",
                          "WARM_RATE",
                          "PAIRS_FILE",
                          "PAIR",
                          "LOG_LEVEL",
                          "LOG_FORMAT"});
  for (const agent::Option& option : agent::option_table()) line.add_settings(app, {option.variable});

  agent::Arguments arguments;
  const auto command = [&](const char* name, const char* help) { return app.add_subcommand(name, help); };
  CLI::App* const on_preflight = command("preflight", "Run every check and print the verdicts");
  CLI::App* const on_status = command("status", "Show what both servers are right now");
  CLI::App* const on_warm =
      command("warm", "Load into the future primary's buffers what the old primary keeps in its own");
  CLI::App* const on_plan = command("plan", "Print every order that a cutover of this pair is going to give");
  CLI::App* const on_cutover = command("cutover", "Cut over, or say what would happen with --dry-run");
  CLI::App* const on_recover = command("recover", "Finish or undo what an agent that died has begun");
  CLI::App* const on_guard = command("guard", "A service that finishes or undoes the cutover of a dead agent");
  CLI::App* const on_rejoin = command("rejoin", "Make the old primary a standby of the new one");
  CLI::App* const on_diverged = command("diverged", "List what the old primary has committed and the new one lacks");
  CLI::App* const on_compare =
      command("compare", "Compare what the application did before the last cutover with what it does since");
  CLI::App* const on_report = command("report", "Show the last cutover's report");
  CLI::App* const on_explain = command("explain", "Print the tables of checks, steps, exit codes and metrics");
  on_status->add_flag("--watch", arguments.watch, "repeat: a live view on a terminal, one line each time in a pipe");
  line.add_settings(*on_status, {"MONITORING_INTERVAL"});
  on_guard->add_flag("--watch", arguments.watch, "watch STATE_DIR until SIGTERM")->required();
  for (CLI::App* const printing : {on_preflight, on_status, on_warm, on_plan, on_cutover, on_recover, on_rejoin,
                                   on_diverged, on_compare, on_report, on_explain}) {
    printing->add_flag("--json", arguments.json, "print JSON instead of a table");
  }
  for (CLI::App* const judging : {on_preflight, on_cutover}) {
    judging->add_flag("--all-pairs", arguments.all_pairs, "every pair of --pairs at once, in one table");
  }
  CLI::Option* const reports = on_report->add_flag("--all", arguments.all, "of all pairs of --pairs, in one table");
  on_report
      ->add_option("--from", arguments.from, "with --all: where FOLDER/NAME/report.json of each pair was collected")
      ->option_text("FOLDER")
      ->needs(reports);
  on_plan->add_flag("--html", arguments.html, "print a page for a browser");
  for (CLI::App* const directed : {on_preflight, on_warm, on_plan, on_cutover}) {
    directed->add_flag("--switch-back", arguments.switch_back,
                       "from REPLICA_* to PRIMARY_*: back after a cutover whose old primary became a standby");
  }
  for (CLI::App* const directed : {on_preflight, on_plan, on_cutover}) {
    directed->add_flag("--ha-manager-paused", arguments.ha_manager_paused,
                       "go on although an HA manager is seen on the pair, because it is paused");
    directed->add_flag("--lose-logical-slots", arguments.lose_logical_slots,
                       "go on although the new primary lacks the logical slots; their consumers start over");
  }
  for (CLI::App* const looking : {on_warm, on_cutover, on_recover}) {
    looking->add_flag("--dry-run", arguments.dry_run, "look and say what would be done, change nothing");
  }
  on_cutover->get_option("--all-pairs")->needs("--dry-run");
  on_cutover->add_flag("--rehearse", arguments.rehearse,
                       "all but the promotion for real, then undo: measures the pause");
  on_cutover->add_option("--hold", arguments.hold, "stay ready until Enter is pressed, or until this file is gone")
      ->expected(0, 1)
      ->option_text("[FILE]");
  on_cutover->add_flag("--warm", arguments.warm,
                       "load what the old primary keeps in its buffers first, as agent warm does");
  bool unguarded = false;
  on_cutover->add_flag("--no-guard", unguarded,
                       "do not start the guard that recovers automatically if the agent is killed");
  on_cutover->add_option("--guard", arguments.guard_pipe)->group("");
  for (CLI::App* const asking : {on_cutover, on_rejoin}) asking->add_flag("--yes", arguments.yes, "do not ask");
  on_rejoin->add_flag("--discard-diverged", arguments.discard_diverged,
                      "throw away what the old primary has committed and the new one lacks");
  on_cutover->add_flag("--all", arguments.all, "when refused, print the checks that passed too");
  line.add_settings(*on_cutover, {"AGENT_LISTEN", "AGENT_WEB_CONFIG", "WATCH_AFTER"});
  on_compare->add_flag("--begin", arguments.begin,
                       "look at the primary now: the window before the next cutover begins here");
  on_compare->add_option("--over", arguments.over, "look at the new primary now, and again so many seconds later")
      ->check(number_between(1.0, 86400.0))
      ->option_text("SECONDS");
  bool abort = false;
  bool complete = false;
  CLI::Option* const go_back = on_recover->add_flag("--abort", abort, "go back to the old primary if not promoted");
  on_recover->add_flag("--complete", complete, "promote now if not promoted")->excludes(go_back);

  return line.run(argc, argv, [&] {
    arguments.guarded = !unguarded;
    arguments.command_line.assign(argv + 1, argv + argc);
    if (abort) arguments.decision = agent::Decision::abort;
    if (complete) arguments.decision = agent::Decision::complete;
    line.set_up_logging({.level = "warn", .file = {}});
    if (arguments.all_pairs && on_preflight->parsed()) {
      return agent::preflight_all(line.settings_of_pairs(), arguments, signals.token());
    }
    if (arguments.all_pairs) return agent::dry_run_all(line.settings_of_pairs(), arguments, signals.token());
    const Settings settings = line.settings();
    if (arguments.all && on_report->parsed()) {
      const bool folder_alone = arguments.from && !settings.given("PAIRS_FILE");
      return agent::report_all(folder_alone ? std::vector<Settings>() : line.settings_of_pairs(), arguments);
    }
    const agent::LogTo log_to = [&](const std::string& path) {
      line.set_up_logging({.level = "info", .file = path, .screen = false});
    };
    if (on_preflight->parsed()) return agent::preflight(settings, arguments);
    if (on_status->parsed()) return agent::status(settings, arguments, signals.token());
    if (on_plan->parsed()) return agent::plan(settings, arguments, signals.token());
    if (on_warm->parsed()) return agent::warm(settings, arguments, signals.token());
    if (arguments.guard_pipe || on_guard->parsed()) return agent::guard(settings, arguments, signals.token(), log_to);
    if (on_compare->parsed()) return agent::compare(settings, arguments, signals.token());
    if (on_cutover->parsed()) return agent::cutover(settings, arguments, signals.token(), log_to);
    if (on_recover->parsed()) return agent::recover(settings, arguments, signals.token(), log_to);
    if (on_rejoin->parsed()) return agent::rejoin(settings, arguments, signals.token(), log_to);
    if (on_diverged->parsed()) return agent::list_diverged(settings, arguments, signals.token());
    if (on_report->parsed()) return agent::report(settings, arguments);
    if (on_explain->parsed()) {
      if (arguments.json) {
        std::cout << json_text(agent::explain_json(), 2) << '\n';
      } else {
        agent::explain(std::cout);
      }
    }
    return 0;
  });
}
