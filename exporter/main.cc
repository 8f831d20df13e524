// The command line of the exporter.
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <iostream>
#include <memory>
#include <utility>
#include <vector>

#include "core/base/command_line.h"
#include "core/base/error.h"
#include "core/base/signals.h"
#include "core/http/server.h"
#include "core/http/web_config.h"
#include "exporter/fleet.h"
#include "exporter/fleet_pages.h"
#include "exporter/gauges.h"
#include "exporter/options.h"
#include "exporter/pages.h"
#include "exporter/pairs_reload.h"
#include "exporter/pool.h"
#include "exporter/sampler.h"

namespace pgrm::exporter {
namespace {

constexpr auto examples = R"(  {0} --primary-host db1 --replica-host db2
  PRIMARY_DSN=service=old REPLICA_DSN=service=new {0} --interval 1 --listen 0.0.0.0:9717
  {0} --pairs /etc/replica-migration/pairs.yml
  {0} check --pairs pairs.yml
  {0} explain --markdown
)";

/// What is wrong with a new file must not take the old protection away.
void reload(http::Server& server, const std::string& web_config) {
  if (web_config.empty()) return;
  try {
    if (std::filesystem::file_size(web_config) == 0) {
      throw Error(ErrorCode::configuration, web_config + " is empty; to serve without protection, write {} into it");
    }
    server.configure(http::WebConfig::load(web_config));
    spdlog::info("reread {}", web_config);
  } catch (const std::exception& error) {
    spdlog::error("the web configuration stays as it was: {}", error.what());
  }
}

int serve_one(const Settings& settings) {
  const Options options = options_from(settings);

  Pool pool;  // outlives the sampler, and so the server
  http::Server server(options.listen);
  server.configure(http::WebConfig::load(options.web_config));
  const Signals signals([&server, &options] { reload(server, options.web_config); });
  // The pages own it: the server, which answers until its end, is the last to go.
  const auto sampler = std::make_shared<Sampler>(observer_of(options.pair.primary), observer_of(options.pair.replica),
                                                 options.policy, system_clock(), pool);
  add_pages(server, [sampler] { return sampler->view(); });
  server.start();
  sampler->start();
  spdlog::info("watching {} and {} every {}, listening on port {}", options.pair.primary.address(),
               options.pair.replica.address(), human(options.policy.interval), server.port());
  while (!system_clock().sleep_for(std::chrono::hours(1), signals.token())) continue;
  spdlog::info("ending");
  return 0;
}

/// A session takes a descriptor for itself and one for its deadline, and the usual limit is 1,024. As many as are
/// allowed without asking anybody.
void allow_descriptors(std::size_t pairs) {
  constexpr rlim_t of_a_pair = 4, of_all_else = 256;
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_max >= of_a_pair * pairs + of_all_else) return;
  spdlog::warn("{} pairs need {} file descriptors, the limit is {}: raise it (ulimit -Hn, LimitNOFILE)", pairs,
               of_a_pair * pairs + of_all_else, limit.rlim_max);
}

int serve_fleet(const Settings& settings) {
  const std::string file = settings.text("PAIRS_FILE");
  PairsReload pairs_reload(file, [&settings] { return pairs_from(settings); });
  std::vector<NamedPair> pairs = pairs_reload.first();
  const std::string web_config = settings.optional_text("EXPORTER_WEB_CONFIG").value_or("");
  allow_descriptors(pairs.size());

  http::Server server(settings.text("EXPORTER_LISTEN"));
  server.configure(http::WebConfig::load(web_config));
  std::atomic<bool> asked = false;
  const Signals signals([&] {
    reload(server, web_config);
    asked = true;
  });
  // The pages own it, as above.
  const auto fleet = std::make_shared<Fleet>();
  add_fleet_pages(server, {.all = [fleet] { return fleet->views(); },
                           .one = [fleet](std::string_view name) { return fleet->view(name); }});
  server.start();
  const std::size_t count = pairs.size();
  fleet->watch(std::move(pairs));
  spdlog::info("watching the {} pairs of {}, listening on port {}", count, file, server.port());
  while (!system_clock().sleep_for(std::chrono::seconds(1), signals.token())) {
    pairs_reload.look(asked.exchange(false), *fleet);
  }
  spdlog::info("ending");
  return 0;
}

bool is_of_many(const Settings& settings) { return settings.given("PAIRS_FILE") && settings.pair_name().empty(); }

int serve(const CommandLine& command_line) {
  const Settings settings = command_line.settings();
  command_line.set_up_logging();
  return is_of_many(settings) ? serve_fleet(settings) : serve_one(settings);
}

/// Everything that is read before a server is asked for the first time. Throws what serve() would.
int check(const CommandLine& command_line) {
  const Settings settings = command_line.settings();
  http::WebConfig::load(settings.optional_text("EXPORTER_WEB_CONFIG").value_or(""));
  if (is_of_many(settings)) {
    fmt::print("{}: {} pairs, no fault\n", settings.text("PAIRS_FILE"), pairs_from(settings).size());
  } else {
    const Options options = options_from(settings);
    fmt::print("{} and {}: no fault\n", options.pair.primary.address(), options.pair.replica.address());
  }
  return 0;
}

int run(int argc, const char* const* argv) {
  CommandLine command_line(argv[0], "Watches a primary and its replica: metrics, a JSON state and a live page.",
                           examples);
  CLI::App& app = command_line.app();
  command_line.add_settings(app, {"PRIMARY_HOST", "PRIMARY_PORT", "REPLICA_HOST", "REPLICA_PORT", "PRIMARY_DSN",
                                  "REPLICA_DSN", "POSTGRES_USER", "MAINTENANCE_DB", "MONITORING_INTERVAL",
                                  "LAG_THRESHOLD_BYTES", "LAG_THRESHOLD_SECONDS", "REQUIRED_SYNC_CHECKS", "PAIRS_FILE",
                                  "PAIR", "EXPORTER_LISTEN", "EXPORTER_WEB_CONFIG", "LOG_LEVEL", "LOG_FORMAT"});
  CLI::App* const explain = app.add_subcommand("explain", "Print the catalogue of metrics");
  bool markdown = false, json = false;
  explain->add_flag("--markdown", markdown, "As a Markdown table");
  explain->add_flag("--json", json, "Print one JSON object")->excludes("--markdown");
  CLI::App* const check_only = app.add_subcommand("check", "Read all settings and files, name every fault, and end");
  check_only->fallthrough();

  return command_line.run(argc, argv, [&] {
    if (check_only->parsed()) return check(command_line);
    if (!explain->parsed()) return serve(command_line);
    print_catalogue(std::cout, catalogue(), markdown, json);
    return 0;
  });
}

}  // namespace
}  // namespace pgrm::exporter

int main(int argc, char** argv) { return pgrm::exporter::run(argc, argv); }
