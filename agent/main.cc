// The agent's command line. What the commands do stands in commands.cc, what a cutover is in steps.cc.
#include <iostream>

#include "agent/commands/commands.h"
#include "agent/view/metrics.h"
#include "agent/view/report.h"
#include "core/base/command_line.h"
#include "core/base/signals.h"

namespace {

using namespace pgrm;

constexpr auto examples = R"(  agent preflight                      is everything ready?
  agent cutover --dry-run              what would happen, without a single write
  agent cutover                        cut over; asks for the database's name first
  agent cutover --yes --json           the same from a script
  agent cutover --demote standby --node-control /etc/pgrm/node
                                       and make the old primary a standby of the new one
  agent cutover --switch-back          the other way round, with the same settings
  agent rejoin --yes                   make the old primary a standby later
  agent status --watch                 who is the primary right now, and how far behind is the replica?
  agent recover                        an agent died: go back or forward, whichever is safe
  agent report                         how the last cutover went
)";

}  // namespace

int main(int argc, char** argv) {
  const Signals signals;
  CommandLine line("agent", "Cuts a live PostgreSQL over to its streaming replica.", examples);
  CLI::App& app = line.app();
  app.require_subcommand(1);
  line.add_settings(
      app,
      {"POSTGRES_USER",        "POSTGRES_DB",     "PRIMARY_HOST",    "PRIMARY_PORT",        "REPLICA_HOST",
       "REPLICA_PORT",         "PRIMARY_DSN",     "REPLICA_DSN",     "LAG_THRESHOLD_BYTES", "LAG_THRESHOLD_SECONDS",
       "REQUIRED_SYNC_CHECKS", "SYNC_TIMEOUT",    "PROMOTE_TIMEOUT", "EXPORTER_URL",        "EXPORTER_USER",
       "EXPORTER_CA_FILE",     "LOADGEN_URL",     "PGBOUNCER_DSN",   "PGBOUNCER_DATABASES", "NODE_CONTROL",
       "STANDBY_SLOT",         "FOLLOW_SIBLINGS", "STATE_DIR",       "LOG_LEVEL",           "LOG_FORMAT"});

  agent::Arguments arguments;
  const auto command = [&](const char* name, const char* help) { return app.add_subcommand(name, help); };
  CLI::App* const on_preflight = command("preflight", "Run every check and print the verdicts");
  CLI::App* const on_status = command("status", "Show what both servers are right now");
  CLI::App* const on_cutover = command("cutover", "Cut over, or say what would happen with --dry-run");
  CLI::App* const on_recover = command("recover", "Finish or undo what an agent that died has begun");
  CLI::App* const on_rejoin = command("rejoin", "Make the old primary a standby of the new one");
  CLI::App* const on_report = command("report", "Show the last cutover's report");
  CLI::App* const on_explain = command("explain", "Print the tables of checks, steps, exit codes and metrics");
  on_status->add_flag("--watch", arguments.watch, "go on looking: a live view, or one line a time in a pipe");
  line.add_settings(*on_status, {"MONITORING_INTERVAL"});
  for (CLI::App* const printing : {on_preflight, on_status, on_cutover, on_recover, on_rejoin, on_report}) {
    printing->add_flag("--json", arguments.json, "print JSON instead of a table");
  }
  for (CLI::App* const directed : {on_preflight, on_cutover}) {
    directed->add_flag("--switch-back", arguments.switch_back,
                       "from REPLICA_* to PRIMARY_*: back after a cutover whose old primary became a standby");
  }
  for (CLI::App* const telling : {on_preflight, on_cutover}) {
    telling
        ->add_option("--traffic", arguments.traffic,
                     "who is told to stop and to go on: loadgen, pgbouncer, both, or none (default loadgen)")
        ->delimiter(',')
        ->check(CLI::IsMember({"loadgen", "pgbouncer", "none"}));
    telling->add_option("--hooks", arguments.hooks,
                        "directory with executables pre_fence, post_fence, post_promote, on_undo");
  }
  on_cutover->add_flag("--dry-run", arguments.dry_run, "check and look, change nothing");
  on_cutover->add_flag("--rehearse", arguments.rehearse, "all but the promotion for real, then undo: the true pause");
  std::string fence, demote;
  for (CLI::App* const fencing : {on_preflight, on_cutover}) {
    fencing->add_option("--fence", fence, "closed: nobody gets in (default where the rights allow it), or read-only")
        ->check(CLI::IsMember({"closed", "read-only"}));
    fencing->add_option("--demote", demote, "what becomes of the old primary (default read-only)")
        ->check(CLI::IsMember({"read-only", "closed", "stop", "standby"}));
  }
  bool unguarded = false;
  on_cutover->add_flag("--no-guard", unguarded, "nobody recovers by himself if the agent is killed");
  on_cutover->add_option("--guard", arguments.guard_pipe)->group("");
  for (CLI::App* const asking : {on_cutover, on_rejoin}) asking->add_flag("--yes", arguments.yes, "do not ask");
  on_cutover->add_flag("--all", arguments.all, "when refused, print the checks that passed too");
  line.add_settings(*on_cutover, {"AGENT_LISTEN"});
  bool abort = false;
  bool complete = false;
  CLI::Option* const go_back = on_recover->add_flag("--abort", abort, "go back to the old primary if not promoted");
  on_recover->add_flag("--complete", complete, "promote now if not promoted")->excludes(go_back);

  return line.run(argc, argv, [&] {
    arguments.guarded = !unguarded;
    arguments.command_line.assign(argv + 1, argv + argc);
    if (!fence.empty()) arguments.fence = agent::fence_form(fence);
    if (!demote.empty()) arguments.demotion = agent::demotion(demote);
    if (abort) arguments.decision = agent::Decision::abort;
    if (complete) arguments.decision = agent::Decision::complete;
    line.set_up_logging({.level = "warn", .file = {}});
    const Settings settings = line.settings();
    const agent::LogTo log_to = [&](const std::string& path) {
      line.set_up_logging({.level = "info", .file = path, .screen = false});
    };
    if (on_preflight->parsed()) return agent::preflight(settings, arguments);
    if (on_status->parsed()) return agent::status(settings, arguments, signals.token());
    if (arguments.guard_pipe) return agent::guard(settings, arguments, signals.token(), log_to);
    if (on_cutover->parsed()) return agent::cutover(settings, arguments, signals.token(), log_to);
    if (on_recover->parsed()) return agent::recover(settings, arguments, signals.token(), log_to);
    if (on_rejoin->parsed()) return agent::rejoin(settings, arguments, signals.token(), log_to);
    if (on_report->parsed()) return agent::report(settings, arguments);
    if (on_explain->parsed()) {
      agent::explain(std::cout);
      std::cout << "\n### Metrics of a cutover\n\n" << agent::metrics_catalogue();
    }
    return 0;
  });
}
