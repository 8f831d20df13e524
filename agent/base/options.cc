#include "agent/base/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/base/error.h"

namespace pgrm::agent {
namespace {

/// The parts of a list that are separated by semicolons, without blanks around them.
std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> parts;
  for (std::size_t start = 0; start <= list.size();) {
    const std::size_t end = std::min(list.find(';', start), list.size());
    const std::string part = list.substr(start, end - start);
    const std::size_t first = part.find_first_not_of(" \t");
    if (first != std::string::npos) parts.push_back(part.substr(first, part.find_last_not_of(" \t") - first + 1));
    start = end + 1;
  }
  return parts;
}

std::vector<std::string> list(const Settings& settings, std::string_view variable) {
  return split(settings.optional_text(variable).value_or(""));
}

/// Whole conninfos, with what they lack filled in.
std::vector<Conninfo> servers(const Settings& settings, std::string_view variable,
                              const std::vector<std::pair<std::string, std::string>>& defaults,
                              std::string_view password) {
  std::vector<Conninfo> servers;
  for (const std::string& text : list(settings, variable)) {
    Conninfo server = Conninfo::parse(text);
    if (settings.given_as_flag(variable) && server.has_password()) {
      throw Error(
          ErrorCode::usage,
          fmt::format("a password in {} on the command line is refused: every user of this machine could read it",
                      setting(variable).flag),
          fmt::format("set {} in the environment, or use ~/.pgpass", password));
    }
    for (const auto& [keyword, value] : defaults) {
      if (server.get(keyword).empty()) server = server.with(keyword, value);
    }
    const Secret secret = settings.secret(password);
    if (server.get("password").empty() && !secret.empty()) server = server.with("password", secret.reveal());
    servers.push_back(server);
  }
  return servers;
}

}  // namespace

Demotion demotion(std::string_view name) {
  for (const Demotion form : {Demotion::read_only, Demotion::closed, Demotion::stop}) {
    if (name == to_string(form)) return form;
  }
  return Demotion::standby;
}

FenceForm fence_form(std::string_view name) {
  return name == to_string(FenceForm::closed) ? FenceForm::closed : FenceForm::read_only;
}

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
  options.poolers = servers(settings, "PGBOUNCER_DSN",
                            {{"port", "6432"}, {"user", "pgbouncer"}, {"dbname", "pgbouncer"}}, "PGBOUNCER_PASSWORD");
  options.pooler_databases = list(settings, "PGBOUNCER_DATABASES");
  options.node_control = settings.optional_text("NODE_CONTROL").value_or("");
  options.standby_slot = settings.text("STANDBY_SLOT");
  options.siblings =
      servers(settings, "FOLLOW_SIBLINGS", {{"user", settings.text("POSTGRES_USER")}, {"dbname", maintenance_database}},
              "POSTGRES_PASSWORD");
  options.state_dir = settings.text("STATE_DIR");
  options.listen = settings.optional_text("AGENT_LISTEN").value_or("");
  return options;
}

}  // namespace pgrm::agent
