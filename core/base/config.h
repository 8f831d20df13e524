// Every setting of the three programs in one table, and the one rule of precedence: flag > environment > file >
// default.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/clock.h"
#include "core/base/secret.h"

namespace pgrm {

struct Setting {
  std::string_view variable;       // the environment variable; also the name used in code and in error texts
  std::string_view flag;           // empty: not to be given on a command line
  std::string_view default_value;  // empty: none
  std::string_view help;
};

inline constexpr std::array settings_table{
    Setting{"POSTGRES_USER", "--user", "postgres", "role to connect as"},
    Setting{"POSTGRES_PASSWORD", "", "", "its password (or POSTGRES_PASSWORD_FILE, ~/.pgpass, a service file)"},
    Setting{"POSTGRES_DB", "--database", "testdb", "application database"},
    Setting{"MAINTENANCE_DB", "--maintenance-db", "postgres",
            "database that the programs connect to; not the application's"},
    Setting{"PRIMARY_HOST", "--primary-host", "localhost", "host of the primary"},
    Setting{"PRIMARY_PORT", "--primary-port", "5432", "port of the primary"},
    Setting{"REPLICA_HOST", "--replica-host", "localhost", "host of the replica"},
    Setting{"REPLICA_PORT", "--replica-port", "5433", "port of the replica"},
    Setting{"PRIMARY_DSN", "--primary", "", "whole conninfo or URI of the primary, instead of host and port"},
    Setting{"REPLICA_DSN", "--replica", "", "whole conninfo or URI of the replica, instead of host and port"},
    Setting{"MONITORING_INTERVAL", "--interval", "5", "seconds between two observations (0.05 to 3600)"},
    Setting{"LAG_THRESHOLD_BYTES", "--lag-threshold-bytes", "1024", "in sync means fewer bytes behind than this"},
    Setting{"LAG_THRESHOLD_SECONDS", "--lag-threshold-seconds", "1.0", "in sync means fewer seconds behind than this"},
    Setting{"REQUIRED_SYNC_CHECKS", "--required-checks", "3", "consecutive in-sync checks before a cutover"},
    Setting{"SYNC_TIMEOUT", "--sync-timeout", "300", "seconds to wait for these checks"},
    Setting{"PROMOTE_TIMEOUT", "--promote-timeout", "30", "seconds for the promotion"},
    Setting{"MAX_WRITE_PAUSE", "--max-write-pause", "5", "seconds that the write pause may last before the undo"},
    Setting{"CUTOVER_ATTEMPTS", "--attempts", "3",
            "how many times a cutover is tried, the first included, while its pause is too long"},
    Setting{"DRAIN_OLD", "--drain-old", "0",
            "seconds after the cutover during which the agent ends sessions that come back to the old primary"},
    Setting{"WAIT_FOR_TRANSACTIONS", "--wait-for-transactions", "0",
            "seconds to wait for a moment without a client transaction older than 1 s (0: the fence ends them)"},
    Setting{"WINDOW", "--window", "",
            "stop writes only between two times of the day, and give up at the end: 02:00-04:00"},
    Setting{
        "WATCH_AFTER", "--watch-after", "0",
        "seconds after the cutover in which the application is watched on the new primary, and compared with before"},
    Setting{"WARM_RATE", "--warm-rate", "0", "megabytes per second that warming reads at most (0: as replay allows)"},
    Setting{"EXPORTER_LISTEN", "--listen", "127.0.0.1:9717", "address of the exporter's HTTP server"},
    Setting{"EXPORTER_WEB_CONFIG", "--web-config", "", "TLS and basic auth, a file in the format of exporter-toolkit"},
    Setting{"LOADGEN_LISTEN", "--listen", "127.0.0.1:9718", "address of loadgen's HTTP server"},
    Setting{"LOADGEN_WEB_CONFIG", "--web-config", "", "TLS and basic auth for it, in the format of exporter-toolkit"},
    Setting{"AGENT_LISTEN", "--listen", "", "address of the agent's /metrics during a cutover (off when empty)"},
    Setting{"AGENT_WEB_CONFIG", "--web-config", "", "TLS and basic auth for it, in the format of exporter-toolkit"},
    Setting{"EXPORTER_URL", "--exporter-url", "http://127.0.0.1:9717", "where the exporter answers"},
    Setting{"EXPORTER_USER", "--exporter-user", "", "user of its --web-config, with EXPORTER_PASSWORD"},
    Setting{"EXPORTER_PASSWORD", "", "", "password of that user (or EXPORTER_PASSWORD_FILE)"},
    Setting{"EXPORTER_CA_FILE", "--exporter-ca-file", "", "authority of its certificate, when not one of the system's"},
    Setting{"LOADGEN_URL", "--loadgen-url", "http://127.0.0.1:9718", "where loadgen answers"},
    Setting{"LOADGEN_USER", "--loadgen-user", "", "user of its --web-config, with LOADGEN_PASSWORD"},
    Setting{"LOADGEN_PASSWORD", "", "", "password of that user (or LOADGEN_PASSWORD_FILE)"},
    Setting{"LOADGEN_CA_FILE", "--loadgen-ca-file", "", "authority of its certificate, when not one of the system's"},
    Setting{"LOADGEN_CONTROL_TOKEN", "", "", "bearer token of loadgen's control API (or LOADGEN_CONTROL_TOKEN_FILE)"},
    Setting{"TRAFFIC", "--traffic", "",
            "drivers that stop the traffic: loadgen, pgbouncer, both, or none (default: those that are configured)"},
    Setting{"HOOKS", "--hooks", "", "directory with executables pre_fence, post_fence, post_promote, on_undo"},
    Setting{"FENCE", "--fence", "", "closed: nobody gets in (default where the rights allow it), or read-only"},
    Setting{"DEMOTE", "--demote", "read-only", "what becomes of the old primary: read-only, closed, stop or standby"},
    Setting{"PGBOUNCER_DSN", "--pgbouncer", "",
            "conninfo of PgBouncer's admin console; several separated by semicolons"},
    Setting{"PGBOUNCER_PASSWORD", "", "", "password of its admin user (or PGBOUNCER_PASSWORD_FILE, ~/.pgpass)"},
    Setting{"PGBOUNCER_DATABASES", "--pgbouncer-databases", "",
            "included file with PgBouncer's databases, rewritten after the promotion; several separated by semicolons"},
    Setting{"NODE_CONTROL", "--node-control", "",
            "directory with the commands stop, diverged, rewind and start for the old primary"},
    Setting{"STANDBY_SLOT", "--standby-slot", "pgrm_standby",
            "replication slot on the new primary, for the old primary as its standby"},
    Setting{"FOLLOW_SIBLINGS", "--follow-siblings", "",
            "conninfos of the old primary's other standbys, to follow the new one; separated by semicolons"},
    Setting{
        "STATE_DIR", "--state-dir", "",
        "directory of cutover journals and reports (default /var/lib/replica-migration where it can be written, else "
        "~/.local/state/replica-migration)"},
    Setting{"PAIRS_FILE", "--pairs", "", "file that describes many pairs (docs/fleet.md)"},
    Setting{"PAIR", "--pair", "", "the pair of that file to work for; its settings win over environment and --config"},
    Setting{"LOG_LEVEL", "--log-level", "info", "trace, debug, info, warn or error"},
    Setting{"LOG_FORMAT", "--log-format", "text", "text or json"},
};

/// The row of `variable`. REQUIRES: it is in the table.
const Setting& setting(std::string_view variable);

/// What a pairs file says of one pair (pairs.h): settings that are its own.
struct PairEntry {
  struct Value {
    std::string text;
    std::string origin;  // "pairs.yml:12: lag-threshold-bytes of billing"
  };
  using Values = std::map<std::string, Value, std::less<>>;

  std::string name;
  std::string origin;  // "pairs.yml:10"
  Values values;       // by variable; of a secret it is the file, under VARIABLE_FILE
  std::map<std::string, std::string> labels;
};

/// Values by variable name. Reading one validates it: a bad value throws Error(configuration) that names where the
/// value came from, the value, and what is allowed.
class Settings {
 public:
  using Values = std::map<std::string, std::string, std::less<>>;
  using Environment = std::function<std::optional<std::string>(const std::string& name)>;

  /// `flags` and `file` are keyed by variable name. An empty environment variable counts as not set.
  Settings(Values flags, Environment environment, Values file);

  /// The same for a pair of a pairs file: flag > pair > environment > file > default. Where its servers are, the pair
  /// alone says. Throws Error(usage) when a flag says it too.
  Settings of_pair(PairEntry pair) const;
  /// Its name; empty: none was chosen.
  std::string pair_name() const { return pair_ ? pair_->name : ""; }

  std::string text(std::string_view variable) const;
  /// nullopt when nobody set it and the table has no default.
  std::optional<std::string> optional_text(std::string_view variable) const;
  double number(std::string_view variable, double min, double max) const;
  long integer(std::string_view variable, long min, long max) const;
  Duration seconds(std::string_view variable, double min, double max) const;
  std::string one_of(std::string_view variable, std::initializer_list<std::string_view> allowed) const;
  /// From VARIABLE, else from the file that VARIABLE_FILE names (one trailing newline is dropped), else empty.
  Secret secret(std::string_view variable) const;
  /// True when anybody set it; false when the value is the table's default.
  bool given(std::string_view variable) const;
  /// True when the value was given as a flag, where any user of the machine can read it.
  bool given_as_flag(std::string_view variable) const;
  /// True when it stands in the pairs file, which holds no secrets.
  bool given_by_pair(std::string_view variable) const { return pair_ && pair_->values.contains(variable); }

 private:
  struct Found {
    std::string value;
    std::string origin;  // "--interval", "MONITORING_INTERVAL", "interval in the --config file"
    bool is_default = false;
  };
  std::optional<Found> find(std::string_view variable) const;
  std::optional<std::string> file_of_secret(const std::string& name) const;
  [[noreturn]] static void refuse(const Found& found, const std::string& allowed);

  Values flags_;
  Environment environment_;
  Values file_;
  std::optional<PairEntry> pair_;
};

/// The process' environment.
Settings::Environment process_environment();

}  // namespace pgrm
