#include "agent/base/options.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "core/base/error.h"

namespace pgrm::agent {
namespace {

namespace fs = std::filesystem;

/// The parts of a list, without blanks around them.
std::vector<std::string> split(const std::string& list, char separator) {
  std::vector<std::string> parts;
  for (std::size_t start = 0; start <= list.size();) {
    const std::size_t end = std::min(list.find(separator, start), list.size());
    const std::string part = list.substr(start, end - start);
    const std::size_t first = part.find_first_not_of(" \t");
    if (first != std::string::npos) parts.push_back(part.substr(first, part.find_last_not_of(" \t") - first + 1));
    start = end + 1;
  }
  return parts;
}

std::vector<std::string> list(const Settings& settings, std::string_view variable, char separator = ';') {
  return split(settings.optional_text(variable).value_or(""), separator);
}

/// A recovery may run in another directory.
std::string absolute(const std::string& path) { return path.empty() ? "" : fs::absolute(path).lexically_normal(); }

std::vector<std::string> absolute(std::vector<std::string> paths) {
  for (std::string& path : paths) path = absolute(path);
  return paths;
}

Conninfo with_password(const Conninfo& server, const Settings& settings, std::string_view password) {
  const Secret secret = settings.secret(password);
  return server.get("password").empty() && !secret.empty() ? server.with_password(secret) : server;
}

/// Passwords of `given` for the same servers; else the one of the variable.
void take_passwords(std::vector<Conninfo>& servers, const std::vector<Conninfo>& given, const Settings& settings,
                    std::string_view variable) {
  for (Conninfo& server : servers) {
    const auto same = std::ranges::find(given, server.address(), &Conninfo::address);
    if (same != given.end()) server = server.with_password(Secret(same->get("password"), same->password_file()));
    server = with_password(server, settings, variable);
  }
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
    refuse_ambiguous(server, std::string(variable));
    for (const auto& [keyword, value] : defaults) {
      if (server.get(keyword).empty()) server = server.with(keyword, value);
    }
    servers.push_back(with_password(server, settings, password));
  }
  return servers;
}

nlohmann::json without_passwords(const std::vector<Conninfo>& servers) {
  auto texts = nlohmann::json::array();
  for (const Conninfo& server : servers) {
    texts.push_back(server.with("password", "").with("sslpassword", "").text().reveal());
  }
  return texts;
}

std::vector<Conninfo> conninfos(const nlohmann::json& texts) {
  std::vector<Conninfo> servers;
  for (const auto& text : texts) servers.push_back(Conninfo::parse(text.get<std::string>()));
  return servers;
}

/// One of `allowed`, as it is written; empty when it was not given and has no default.
std::string choice(const Settings& settings, std::string_view variable,
                   std::initializer_list<std::string_view> allowed) {
  return settings.optional_text(variable) ? settings.one_of(variable, allowed) : "";
}

std::optional<FenceForm> fence_form(const std::string& name) {
  if (name.empty()) return std::nullopt;
  return name == to_string(FenceForm::closed) ? FenceForm::closed : FenceForm::read_only;
}

Demotion demotion(std::string_view name) {
  for (const Demotion form : {Demotion::read_only, Demotion::closed, Demotion::stop}) {
    if (name == to_string(form)) return form;
  }
  return Demotion::standby;
}

/// Nobody else's process is touched unless somebody has said where it is.
std::vector<std::string> configured_drivers(const Settings& settings) {
  std::vector<std::string> drivers;
  if (settings.given("LOADGEN_URL")) drivers.emplace_back("loadgen");
  if (settings.given("PGBOUNCER_DSN")) drivers.emplace_back("pgbouncer");
  return drivers;
}

std::vector<std::string> drivers(const Settings& settings) {
  if (!settings.given("TRAFFIC")) return configured_drivers(settings);
  std::vector<std::string> names = list(settings, "TRAFFIC", ',');
  for (const std::string& name : names) {
    if (name == "loadgen" || name == "pgbouncer" || (name == "none" && names.size() == 1)) continue;
    throw Error(ErrorCode::configuration,
                fmt::format("TRAFFIC is \"{}\", allowed is loadgen, pgbouncer, both separated by a comma, or none",
                            settings.text("TRAFFIC")));
  }
  std::erase(names, "none");
  return names;
}

constexpr std::array hook_names{"pre_fence", "post_fence", "post_promote", "on_undo"};

std::vector<std::string> hooks_in(const std::string& directory) {
  std::vector<std::string> present;
  std::error_code ignored;
  for (const char* const hook : hook_names) {
    if (!directory.empty() && fs::exists(fs::path(directory) / hook, ignored)) present.emplace_back(hook);
  }
  return present;
}

constexpr std::array table{
    Option{"MAINTENANCE_DB",
           [](Options& o, const Settings& s) { o.pair.maintenance_database = s.text("MAINTENANCE_DB"); },
           [](const Options& o) { return nlohmann::json(o.pair.maintenance_database); },
           [](Options& o, const nlohmann::json& j) { o.pair.maintenance_database = j; }},
    Option{"TRAFFIC", [](Options& o, const Settings& s) { o.traffic = drivers(s); },
           [](const Options& o) { return nlohmann::json(o.traffic); },
           [](Options& o, const nlohmann::json& j) { o.traffic = j.get<std::vector<std::string>>(); }},
    Option{"LOADGEN_URL", [](Options& o, const Settings& s) { o.loadgen_url = s.text("LOADGEN_URL"); },
           [](const Options& o) { return nlohmann::json(o.loadgen_url); },
           [](Options& o, const nlohmann::json& j) { o.loadgen_url = j; }},
    Option{"LOADGEN_USER",
           [](Options& o, const Settings& s) { o.loadgen_access.user = s.optional_text("LOADGEN_USER").value_or(""); },
           [](const Options& o) { return nlohmann::json(o.loadgen_access.user); },
           [](Options& o, const nlohmann::json& j) { o.loadgen_access.user = j; }},
    Option{"LOADGEN_CA_FILE",
           [](Options& o, const Settings& s) {
             o.loadgen_access.ca_file = absolute(s.optional_text("LOADGEN_CA_FILE").value_or(""));
           },
           [](const Options& o) { return nlohmann::json(o.loadgen_access.ca_file); },
           [](Options& o, const nlohmann::json& j) { o.loadgen_access.ca_file = j; }},
    Option{"HOOKS",
           [](Options& o, const Settings& s) {
             o.hooks_directory = absolute(s.optional_text("HOOKS").value_or(""));
             o.hooks = hooks_in(o.hooks_directory);
           },
           [](const Options& o) {
             return nlohmann::json{{"directory", o.hooks_directory}, {"present", o.hooks}};
           },
           [](Options& o, const nlohmann::json& j) {
             o.hooks_directory = j.at("directory");
             o.hooks = j.at("present").get<std::vector<std::string>>();
           }},
    Option{"PGBOUNCER_DSN",
           [](Options& o, const Settings& s) {
             o.poolers = servers(s, "PGBOUNCER_DSN", {{"port", "6432"}, {"user", "pgbouncer"}, {"dbname", "pgbouncer"}},
                                 "PGBOUNCER_PASSWORD");
           },
           [](const Options& o) { return without_passwords(o.poolers); },
           [](Options& o, const nlohmann::json& j) { o.poolers = conninfos(j); }},
    Option{"PGBOUNCER_DATABASES",
           [](Options& o, const Settings& s) { o.pooler_databases = absolute(list(s, "PGBOUNCER_DATABASES")); },
           [](const Options& o) { return nlohmann::json(o.pooler_databases); },
           [](Options& o, const nlohmann::json& j) { o.pooler_databases = j.get<std::vector<std::string>>(); }},
    Option{"FENCE",
           [](Options& o, const Settings& s) {
             o.fence = fence_form(choice(s, "FENCE", {"closed", "read-only"}));
           },
           [](const Options& o) { return o.fence ? nlohmann::json(to_string(*o.fence)) : nlohmann::json(""); },
           [](Options& o, const nlohmann::json& j) { o.fence = fence_form(j.get<std::string>()); }},
    Option{"DEMOTE",
           [](Options& o, const Settings& s) {
             o.demotion = demotion(choice(s, "DEMOTE", {"read-only", "closed", "stop", "standby"}));
           },
           [](const Options& o) { return nlohmann::json(to_string(o.demotion)); },
           [](Options& o, const nlohmann::json& j) { o.demotion = demotion(j.get<std::string>()); }},
    Option{
        "NODE_CONTROL",
        [](Options& o, const Settings& s) { o.node_control = absolute(s.optional_text("NODE_CONTROL").value_or("")); },
        [](const Options& o) { return nlohmann::json(o.node_control); },
        [](Options& o, const nlohmann::json& j) { o.node_control = j; }},
    Option{"STANDBY_SLOT", [](Options& o, const Settings& s) { o.standby_slot = s.text("STANDBY_SLOT"); },
           [](const Options& o) { return nlohmann::json(o.standby_slot); },
           [](Options& o, const nlohmann::json& j) { o.standby_slot = j; }},
    Option{"FOLLOW_SIBLINGS",
           [](Options& o, const Settings& s) {
             o.siblings = servers(s, "FOLLOW_SIBLINGS",
                                  {{"user", s.text("POSTGRES_USER")}, {"dbname", s.text("MAINTENANCE_DB")}},
                                  "POSTGRES_PASSWORD");
           },
           [](const Options& o) { return without_passwords(o.siblings); },
           [](Options& o, const nlohmann::json& j) { o.siblings = conninfos(j); }},
    Option{"PROMOTE_TIMEOUT",
           [](Options& o, const Settings& s) { o.promote_timeout = s.seconds("PROMOTE_TIMEOUT", 0.1, 3600); },
           [](const Options& o) { return nlohmann::json(to_seconds(o.promote_timeout)); },
           [](Options& o, const nlohmann::json& j) { o.promote_timeout = from_seconds(j.get<double>()); }},
    Option{"MAX_WRITE_PAUSE",
           [](Options& o, const Settings& s) { o.max_write_pause = s.seconds("MAX_WRITE_PAUSE", 0.05, 3600); },
           [](const Options& o) { return nlohmann::json(to_seconds(o.max_write_pause)); },
           [](Options& o, const nlohmann::json& j) { o.max_write_pause = from_seconds(j.get<double>()); }},
    Option{"CUTOVER_ATTEMPTS",
           [](Options& o, const Settings& s) { o.attempts = static_cast<int>(s.integer("CUTOVER_ATTEMPTS", 1, 1000)); },
           [](const Options& o) { return nlohmann::json(o.attempts); },
           [](Options& o, const nlohmann::json& j) { o.attempts = j; }},
    Option{"WINDOW",
           [](Options& o, const Settings& s) {
             if (s.optional_text("WINDOW")) o.window = parse_daily_window(s.text("WINDOW"));
           },
           [](const Options& o) { return nlohmann::json(o.window ? o.window->text() : ""); },
           [](Options& o, const nlohmann::json& j) {
             const std::string text = j;
             o.window = text.empty() ? std::nullopt : std::optional(parse_daily_window(text));
           }},
    Option{"DRAIN_OLD", [](Options& o, const Settings& s) { o.drain_old = s.seconds("DRAIN_OLD", 0, 86400); },
           [](const Options& o) { return nlohmann::json(to_seconds(o.drain_old)); },
           [](Options& o, const nlohmann::json& j) { o.drain_old = from_seconds(j.get<double>()); }},
    Option{
        "WAIT_FOR_TRANSACTIONS",
        [](Options& o, const Settings& s) { o.wait_for_transactions = s.seconds("WAIT_FOR_TRANSACTIONS", 0, 86400); },
        [](const Options& o) { return nlohmann::json(to_seconds(o.wait_for_transactions)); },
        [](Options& o, const nlohmann::json& j) { o.wait_for_transactions = from_seconds(j.get<double>()); }},
};

}  // namespace

bool Options::tells(std::string_view driver) const { return std::ranges::find(traffic, driver) != traffic.end(); }

std::span<const Option> option_table() { return table; }

nlohmann::json options_to_json(const Options& options) {
  nlohmann::json journaled;
  for (const Option& option : table) journaled[std::string(option.variable)] = option.to_json(options);
  return journaled;
}

void recall_options(Options& options, const nlohmann::json& journaled, const Settings& settings) {
  const std::vector<Conninfo> poolers = options.poolers, siblings = options.siblings;
  for (const Option& option : table) {
    // An agent of before that option was there did what its default does.
    if (const auto found = journaled.find(option.variable); found != journaled.end()) option.from_json(options, *found);
  }
  take_passwords(options.poolers, poolers, settings, "PGBOUNCER_PASSWORD");
  take_passwords(options.siblings, siblings, settings, "POSTGRES_PASSWORD");
}

static std::string state_dir_of_all(const Settings& settings) {
  if (const auto given = settings.optional_text("STATE_DIR")) return absolute(*given);
  std::string system = "/var/lib/replica-migration";
  if (access(system.c_str(), W_OK) == 0 || (access(system.c_str(), F_OK) != 0 && access("/var/lib", W_OK) == 0)) {
    return system;
  }
  if (const char* const state = std::getenv("XDG_STATE_HOME"); state != nullptr && *state == '/') {
    return std::string(state) + "/replica-migration";
  }
  const char* const home = std::getenv("HOME");
  if (home == nullptr || *home != '/') {
    throw Error(ErrorCode::configuration, "STATE_DIR is not set, and there is no home directory to put it into",
                "set STATE_DIR");
  }
  return std::string(home) + "/.local/state/replica-migration";
}

std::string state_dir_from(const Settings& settings) {
  const std::string directory = state_dir_of_all(settings), pair = settings.pair_name();
  return pair.empty() || settings.given_by_pair("STATE_DIR") ? directory : directory + "/" + pair;
}

Options options_from(const Settings& settings) {
  Options options;
  for (const Option& option : table) option.read(options, settings);
  if (options.fence == FenceForm::read_only && options.demotion == Demotion::closed) {
    throw Error(ErrorCode::configuration,
                "FENCE is read-only and DEMOTE is closed: only a closed fence can stay closed",
                "leave out --fence read-only, or take --demote read-only");
  }
  if (!settings.given("POSTGRES_DB")) {
    for (const char* const dsn : {"PRIMARY_DSN", "REPLICA_DSN"}) {
      if (!Conninfo::parse(settings.optional_text(dsn).value_or("")).get("dbname").empty()) continue;
      throw Error(ErrorCode::configuration, "the application's database is not named",
                  "set POSTGRES_DB, or give --database");
    }
  }
  options.pair = by_role(pair_from(settings));
  options.exporter_url = settings.text("EXPORTER_URL");
  if (const std::string pair = settings.pair_name(); !pair.empty()) options.exporter_state += "?pair=" + pair;
  options.exporter_access = {.user = settings.optional_text("EXPORTER_USER").value_or(""),
                             .password = settings.secret("EXPORTER_PASSWORD"),
                             .ca_file = settings.optional_text("EXPORTER_CA_FILE").value_or("")};
  options.loadgen_access.password = settings.secret("LOADGEN_PASSWORD");
  options.loadgen_access.bearer = settings.secret("LOADGEN_CONTROL_TOKEN");
  options.thresholds.bytes = settings.integer("LAG_THRESHOLD_BYTES", 1, 1L << 40);
  options.thresholds.seconds = settings.seconds("LAG_THRESHOLD_SECONDS", 0.001, 3600);
  options.required_checks = static_cast<int>(settings.integer("REQUIRED_SYNC_CHECKS", 1, 1000));
  options.sync_timeout = settings.seconds("SYNC_TIMEOUT", 0, 86400);
  options.warm_rate = settings.number("WARM_RATE", 0, 1e6);
  options.watch_after = settings.seconds("WATCH_AFTER", 0, 86400);
  options.state_dir = state_dir_from(settings);
  options.listen = settings.optional_text("AGENT_LISTEN").value_or("");
  options.web_config = settings.optional_text("AGENT_WEB_CONFIG").value_or("");
  return options;
}

}  // namespace pgrm::agent
