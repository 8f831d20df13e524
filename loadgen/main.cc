// loadgen's command line.
#include <fmt/format.h>
#include <unistd.h>

#include <iostream>

#include "core/base/command_line.h"
#include "core/base/signals.h"
#include "loadgen/control.h"
#include "loadgen/metrics.h"
#include "loadgen/run.h"
#include "loadgen/seed.h"
#include "loadgen/verify.h"
#include "loadgen/writable_session.h"

namespace pgrm::loadgen {
namespace {

constexpr auto examples = R"(  {0} seed --primary-host db1 --user app
  {0} run --primary-host db1 --replica-host db2 --user app --ops-per-second 200 --ledger ledger
  {0} verify --ledger ledger --primary-host db1 --replica-host db2 --user app
)";

/// What a script gives when its variable is not set must not pass for an option that was left out.
const CLI::Validator not_empty([](const std::string& text) { return text.empty() ? "is empty" : std::string(); }, "");

/// Where the pair is and how to log: what every command needs.
void add_common_settings(CommandLine& command_line, CLI::App& command) {
  command_line.add_settings(
      command, {"PRIMARY_HOST", "PRIMARY_PORT", "REPLICA_HOST", "REPLICA_PORT", "PRIMARY_DSN", "REPLICA_DSN",
                "POSTGRES_USER", "POSTGRES_DB", "PAIRS_FILE", "PAIR", "LOG_LEVEL", "LOG_FORMAT"});
}

int run_command(int argc, const char* const* argv) {
  CommandLine command_line(
      argv[0], "Seeds a shop, writes to it at a steady rate, and proves that no acknowledged write is lost.", examples);
  CLI::App& app = command_line.app();
  app.require_subcommand(1);

  CLI::App* const seeding = app.add_subcommand("seed", "Create the tables and fill them; harmless to run again");
  add_common_settings(command_line, *seeding);
  SeedOptions seed_options;
  std::int64_t scale = 1;
  seeding->add_option("--users", seed_options.users, "How many")
      ->check(CLI::Range(std::int64_t{0}, max_rows))
      ->capture_default_str();
  seeding->add_option("--products", seed_options.products, "How many")
      ->check(CLI::Range(std::int64_t{0}, max_rows))
      ->capture_default_str();
  seeding->add_option("--orders", seed_options.orders, "How many, of 1 to 5 items each")
      ->check(CLI::Range(std::int64_t{0}, max_rows))
      ->capture_default_str();
  seeding->add_option("--scale", scale, "Multiplies the three counts")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  seeding->add_option("--seed", seed_options.seed, "The same seed and counts make the same rows")
      ->check(CLI::Range(std::int64_t{0}, max_rows))
      ->capture_default_str();
  seeding->add_flag("--reset", seed_options.reset, "Drop loadgen's tables first: everything in them is lost");

  CLI::App* const running = app.add_subcommand("run", "Write at a steady rate until told to stop");
  add_common_settings(command_line, *running);
  command_line.add_settings(*running, {"LOADGEN_LISTEN", "LOADGEN_WEB_CONFIG"});
  RunOptions run_options;
  double report_interval = to_seconds(run_options.report_interval);
  double duration = 0;
  std::string mix = "50/40/10";
  running->add_option("--ops-per-second", run_options.ops_per_second, "0: as fast as it goes")
      ->check(number_between(0, 0) | number_between(min_ops_per_second, max_ops_per_second))
      ->capture_default_str();
  running->add_option("--connections", run_options.connections, "Clients")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  running->add_option("--report-interval", report_interval, "Seconds from one line to the next")
      ->check(number_between(0.1, 86400))
      ->capture_default_str();
  const CLI::Option* const for_long =
      running->add_option("--duration", duration, "Seconds to run (default: until SIGINT or SIGTERM)")
          ->check(number_between(0.001, 1e9));
  running->add_option("--ledger", run_options.ledger, "File that proves what was acknowledged; appended to")
      ->check(not_empty);
  running->add_option("--mix", mix, "Percentages of inserts, updates and deletes")->capture_default_str();
  running->add_option("--seed", run_options.seed, "The same seed makes the same operations")->capture_default_str();

  running->add_option("--reads", run_options.reads, "Reads for each write, on as many connections more; 0: none")
      ->check(number_between(0, 0) | number_between(0.001, 10'000))
      ->capture_default_str();

  CLI::App* const verifying = app.add_subcommand("verify", "Look for every acknowledged write of a ledger");
  add_common_settings(command_line, *verifying);
  VerifyOptions verify_options;
  std::vector<std::string> against;
  verifying->add_option("--ledger", verify_options.ledger, "As given to run")->required();
  verifying
      ->add_option(
          "--against", against,
          "Conninfo of the server that must hold every write, then of others that must not hold more (default: "
          "the pair)")
      ->check(not_empty);
  verifying->add_flag("--json", verify_options.json, "Print one JSON object");

  CLI::App* const explain = app.add_subcommand("explain", "Print the catalogue of metrics");
  bool markdown = false, json = false;
  explain->add_flag("--markdown", markdown, "As a Markdown table");
  explain->add_flag("--json", json, "Print one JSON object")->excludes("--markdown");

  return command_line.run(argc, argv, [&] {
    if (explain->parsed()) {
      print_catalogue(std::cout, catalogue(), markdown, json);
      return 0;
    }
    const Settings settings = command_line.settings();
    const Pair pair = pair_from(settings);
    command_line.set_up_logging();
    const Signals signals;
    if (seeding->parsed()) {
      seed_options.users *= scale;
      seed_options.products *= scale;
      seed_options.orders *= scale;
      const bool live = isatty(STDOUT_FILENO) != 0;
      WritableSession session(pair, "pgrm-loadgen");
      session.open(std::chrono::seconds(5));
      return seed(session->conninfo(), seed_options, system_clock(), signals.token(), std::cout, live) ? 0 : 1;
    }
    if (running->parsed()) {
      run_options.pair = pair;
      run_options.report_interval = from_seconds(report_interval);
      if (for_long->count() > 0) run_options.duration = from_seconds(duration);
      run_options.mix = parse_mix(mix);
      run_options.listen = settings.text("LOADGEN_LISTEN");
      run_options.web_config = settings.optional_text("LOADGEN_WEB_CONFIG").value_or("");
      run_options.control_token = settings.secret("LOADGEN_CONTROL_TOKEN");
      run(run_options, system_clock(), signals.token(), std::cout);
      return 0;
    }
    verify_options.pair = pair;
    for (const std::string& dsn : against) verify_options.against.push_back(server_to_verify(dsn, pair));
    return verify(verify_options, signals.token(), std::cout) ? 0 : 1;
  });
}

}  // namespace
}  // namespace pgrm::loadgen

int main(int argc, char** argv) { return pgrm::loadgen::run_command(argc, argv); }
