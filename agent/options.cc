#include "agent/options.h"

namespace pgrm::agent {

Options options_from(const Settings& settings) {
  Options options;
  options.pair = pair_from(settings);
  options.exporter_url = settings.text("EXPORTER_URL");
  options.exporter_access = {.user = settings.optional_text("EXPORTER_USER").value_or(""),
                             .password = settings.secret("EXPORTER_PASSWORD"),
                             .ca_file = settings.optional_text("EXPORTER_CA_FILE").value_or("")};
  options.loadgen_url = settings.text("LOADGEN_URL");
  options.loadgen_token = settings.secret("LOADGEN_CONTROL_TOKEN");
  options.thresholds.bytes = settings.integer("LAG_THRESHOLD_BYTES", 1, 1L << 40);
  options.thresholds.seconds = settings.seconds("LAG_THRESHOLD_SECONDS", 0.001, 3600);
  options.required_checks = static_cast<int>(settings.integer("REQUIRED_SYNC_CHECKS", 1, 1000));
  options.sync_timeout = settings.seconds("SYNC_TIMEOUT", 0, 86400);
  options.promote_timeout = settings.seconds("PROMOTE_TIMEOUT", 0.1, 3600);
  options.state_dir = settings.text("STATE_DIR");
  options.listen = settings.optional_text("AGENT_LISTEN").value_or("");
  return options;
}

}  // namespace pgrm::agent
