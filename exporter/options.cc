#include "exporter/options.h"

#include "core/pg/server_node.h"
#include "exporter/watcher.h"

namespace pgrm::exporter {
Options options_from(const Settings& settings) {
  constexpr long exact_in_a_double = 1L << 53;
  const Pair pair = pair_from(settings);
  // Everything that the exporter asks for is the same in every database, and a cutover closes the application's own.
  return {
      .pair = {pair.primary.with("dbname", pair.maintenance_database),
               pair.replica.with("dbname", pair.maintenance_database), pair.maintenance_database},
      .policy = {.thresholds = {.bytes = settings.integer("LAG_THRESHOLD_BYTES", 1, exact_in_a_double),
                                .seconds = settings.seconds("LAG_THRESHOLD_SECONDS", 0.001, 86400)},
                 .required = static_cast<int>(settings.integer("REQUIRED_SYNC_CHECKS", 1, 1'000'000)),
                 .interval = settings.seconds("MONITORING_INTERVAL", 0.05, 3600)},
      .listen = settings.text("EXPORTER_LISTEN"),
      .web_config = settings.optional_text("EXPORTER_WEB_CONFIG").value_or(""),
  };
}

std::unique_ptr<Node> observer_of(const Conninfo& server) {
  return make_server_node(server, {.application_name = "pgrm-exporter", .observer_timeout = look_deadline});
}

}  // namespace pgrm::exporter
