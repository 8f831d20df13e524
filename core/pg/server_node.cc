#include "core/pg/server_node.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <thread>

#include "core/base/budget.h"
#include "core/base/json_text.h"
#include "core/pg/attack.h"
#include "core/pg/observer.h"
#include "core/pg/orders.h"
#include "core/pg/probe_table.h"
#include "core/pg/session.h"
#include "core/pg/session_settings.h"

namespace pgrm {
namespace {

// What a look at a server asks stands in observer.cc. PostgreSQL 13 to 18 have every column and function named here;
// what only some versions offer stands in `version_dependent`.

// PostgreSQL reports pending_restart for a setting of the command line when a file differs. A restart would not change
// it.
constexpr Statement read_settings{"pgrm_read_settings",
                                  R"sql(
SELECT name, reset_val AS value, source = 'command line' AS command_line,
       pending_restart AND source <> 'command line' AS pending_restart
  FROM pg_settings ORDER BY name)sql"};

// What stands in a file and is overridden by the command line is an error there, too, and never will matter.
constexpr Statement read_file_errors{"pgrm_read_file_errors", R"sql(
SELECT to_json(ARRAY(SELECT format('%s:%s %s: %s', sourcefile, sourceline, coalesce(name, ''), error)
                       FROM pg_file_settings AS f
                      WHERE error IS NOT NULL AND NOT EXISTS (SELECT FROM pg_settings AS s
                                                               WHERE s.name = f.name AND s.source = 'command line')
                      ORDER BY seqno LIMIT 5)) AS errors)sql"};

constexpr Statement read_traces{"pgrm_read_traces", R"sql(
SELECT to_json(ARRAY(SELECT DISTINCT application_name FROM pg_stat_activity
                      WHERE application_name NOT IN ('', current_setting('application_name')) ORDER BY 1)) AS applications,
       to_json(ARRAY(SELECT DISTINCT backend_type FROM pg_stat_activity WHERE backend_type IS NOT NULL ORDER BY 1)) AS backends,
       to_json(ARRAY(SELECT rolname FROM pg_roles WHERE rolsuper OR rolreplication ORDER BY 1)) AS roles,
       to_json(ARRAY(SELECT datname FROM pg_database ORDER BY 1)) AS databases,
       to_json(ARRAY(SELECT slot_name FROM pg_replication_slots ORDER BY 1)) AS slots,
       to_json(ARRAY(SELECT DISTINCT sourcefile FROM pg_settings WHERE sourcefile IS NOT NULL ORDER BY 1)) AS files,
       to_json(ARRAY(SELECT btrim(library, ' "') FROM pg_settings AS s, unnest(string_to_array(s.setting, ',')) AS library
                      WHERE s.name = 'shared_preload_libraries')) AS libraries,
       to_json(ARRAY(SELECT setting FROM pg_settings WHERE name IN ('archive_command', 'restore_command'))) AS commands)sql"};

constexpr Statement read_facts{"pgrm_read_facts", R"sql(
WITH others AS (SELECT * FROM pg_stat_activity
                 WHERE application_name <> current_setting('application_name') OR usename <> session_user)
SELECT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS superuser,
       (SELECT count(*) FROM pg_prepared_xacts) AS prepared_transactions,
       (SELECT extract(epoch FROM clock_timestamp() - min(xact_start)) FROM others
         WHERE backend_type = 'client backend') AS oldest,
       (SELECT count(*) FROM others AS a JOIN pg_roles AS r ON r.oid = a.usesysid
         WHERE a.backend_type = 'client backend' AND r.rolsuper AND a.backend_start < clock_timestamp() - interval '5 s')
         AS superuser_sessions,
       EXISTS (SELECT FROM pg_stat_progress_basebackup) AS base_backup,
       to_json(ARRAY(SELECT slot_name FROM pg_replication_slots
                      WHERE slot_type = 'logical' AND NOT temporary AND wal_status IS DISTINCT FROM 'lost' ORDER BY 1))
         AS logical_slots,
       (SELECT count(*) FROM others
         WHERE state LIKE 'idle in transaction%' AND state_change < clock_timestamp() - interval '5 s')
         AS idle_in_transaction,
       (SELECT count(DISTINCT l.pid) FROM pg_locks AS l JOIN others USING (pid) WHERE l.locktype = 'advisory') AS advisory,
       to_json(ARRAY(SELECT DISTINCT r.rolname FROM pg_stat_activity AS a JOIN pg_roles AS r ON r.oid = a.usesysid
                      WHERE a.backend_type = 'client backend' AND NOT r.rolsuper AND r.rolname <> current_user
                        AND NOT pg_has_role(r.rolname, 'pg_monitor', 'MEMBER') ORDER BY 1 LIMIT 10)) AS client_roles,
       (SELECT coalesce(sum(conflicts), 0)::bigint FROM pg_stat_database) AS conflicts,
       has_function_privilege('pg_ls_archive_statusdir()', 'EXECUTE') AS archive_status,
       (SELECT last_failed_time > coalesce(last_archived_time, '-infinity') FROM pg_stat_archiver) AS archiver_failing,
       (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user) AS replication,
       pg_has_role('pg_signal_backend', 'USAGE') AS signal_backend,
       pg_has_role('pg_read_all_settings', 'USAGE') AS read_settings,
       has_table_privilege('pg_file_settings', 'SELECT') AND
         has_function_privilege('pg_show_all_file_settings()', 'EXECUTE') AS file_settings,
       has_function_privilege('pg_promote(boolean,integer)', 'EXECUTE') AS promote,
       has_function_privilege('pg_switch_wal()', 'EXECUTE') AS switch_wal,
       has_function_privilege('pg_reload_conf()', 'EXECUTE') AS reload)sql"};

constexpr Statement read_archive_ready{
    "pgrm_read_archive_ready", "SELECT count(*) AS ready FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'"};

constexpr Statement ask_wal_directory_right{"pgrm_wal_directory_right",
                                            "SELECT has_function_privilege('pg_ls_waldir()', 'EXECUTE') AS may"};

// ResetUnloggedRelations() and RemoveNonParentXlogFiles() of the server's source. A WAL file's name is timeline,
// position in units of 4 GB, and segment in there.
constexpr Statement read_promotion_work{"pgrm_read_promotion_work", R"sql(
WITH s AS (SELECT pg_size_bytes(current_setting('wal_segment_size')) AS size)
SELECT (SELECT count(*) FROM pg_database) +
       (SELECT count(*) FROM pg_tablespace AS t, pg_tablespace_databases(t.oid)
         WHERE t.spcname NOT IN ('pg_default', 'pg_global')) AS directories,
       (SELECT count(*) FROM pg_ls_waldir(), s
         WHERE name ~ '^[0-9A-F]{24}$'
           AND ('x' || substr(name, 9, 8))::bit(32)::bigint * (4294967296 / s.size) +
               ('x' || substr(name, 17, 8))::bit(32)::bigint > (pg_last_wal_replay_lsn() - '0/0') / s.size) AS spare)sql"};

// has_parameter_privilege() and pg_checkpoint came with 15; before, only a superuser may.
// pg_database.datcollversion too. Before, what the database's own collation was built with is not recorded.
struct VersionDependent {
  int since;
  Statement rights;
  Statement collations;
};
constexpr std::array version_dependent{
    VersionDependent{150000,
                     {"pgrm_rights_15", R"sql(
SELECT has_parameter_privilege('default_transaction_read_only', 'ALTER SYSTEM') AS alter_system,
       has_parameter_privilege('synchronous_standby_names', 'ALTER SYSTEM') AS alter_standbys,
       has_parameter_privilege('primary_conninfo', 'ALTER SYSTEM') AS alter_conninfo,
       has_parameter_privilege('wal_init_zero', 'ALTER SYSTEM') AS alter_init_zero,
       has_parameter_privilege('restore_command', 'ALTER SYSTEM') AS alter_restore,
       pg_has_role('pg_checkpoint', 'USAGE') AS checkpoint)sql"},
                     {"pgrm_collations_15", R"sql(
SELECT to_json(ARRAY(SELECT datname FROM pg_database
                      WHERE datcollversion <> pg_database_collation_actual_version(oid) ORDER BY 1)) AS mismatches)sql"}},
    VersionDependent{0,
                     {"pgrm_rights_13", R"sql(
SELECT rolsuper AS alter_system, rolsuper AS alter_standbys, rolsuper AS alter_conninfo, rolsuper AS alter_init_zero,
       rolsuper AS alter_restore,
       rolsuper AS checkpoint
  FROM pg_roles WHERE rolname = current_user)sql"},
                     {"pgrm_collations_13", "SELECT '[]' AS mismatches"}},
};

// In the application's database. A collation's actual version is NULL where the library has none (C, POSIX).
constexpr Statement read_database_facts{"pgrm_read_database_facts", R"sql(
SELECT (SELECT r.rolname FROM pg_database AS d JOIN pg_roles AS r ON r.oid = d.datdba
         WHERE d.datname = current_database()) AS owner,
       to_json(ARRAY(SELECT oid::regclass::text FROM pg_class WHERE relpersistence = 'u' AND relkind IN ('r', 'm', 'S')
                      ORDER BY 1 LIMIT 20)) AS unlogged,
       to_json(ARRAY(SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid ORDER BY 1 LIMIT 20)) AS invalid,
       to_json(ARRAY(SELECT extname FROM pg_extension
                      WHERE NOT EXISTS (SELECT FROM pg_available_extensions WHERE name = extname) ORDER BY 1)) AS missing,
       to_json(ARRAY(SELECT extname || ' ' || extversion FROM pg_extension AS e
                      WHERE EXISTS (SELECT FROM pg_available_extensions WHERE name = e.extname)
                        AND NOT EXISTS (SELECT FROM pg_available_extension_versions
                                         WHERE name = e.extname AND version = e.extversion) ORDER BY 1)) AS differing,
       to_json(ARRAY(SELECT collname FROM pg_collation WHERE collversion <> pg_collation_actual_version(oid)
                      ORDER BY 1 LIMIT 20)) AS collations,
       to_json(ARRAY(SELECT evtname FROM pg_event_trigger WHERE evtevent = 'login' AND evtenabled <> 'D' ORDER BY 1))
         AS login_triggers,
       to_json(ARRAY(SELECT pubname FROM pg_publication_tables
                      WHERE to_regclass('pgrm.cutover_probe') IS NOT NULL  -- elsewhere no list of all tables is made
                        AND schemaname = 'pgrm' AND tablename = 'cutover_probe' ORDER BY 1)) AS probe_publications)sql"};

constexpr Statement ask_in_recovery{"pgrm_in_recovery", "SELECT pg_is_in_recovery() AS r"};
// A snapshot ends at the newest *completed* transaction: one that is in progress shows in pg_stat_activity, of whatever
// kind its backend is, or in pg_prepared_xacts.
constexpr Statement ask_wal_end{"pgrm_wal_end", R"sql(
SELECT pg_current_wal_insert_lsn() AS insert, pg_current_wal_flush_lsn() AS flush,
       pg_snapshot_xmax(pg_current_snapshot()) AS next_xid,
       NOT EXISTS (SELECT FROM pg_stat_activity
                    WHERE backend_xid IS NOT NULL
                      AND (backend_type IN ('client backend', 'walsender') OR backend_type LIKE 'logical replication %worker')) AND
       NOT EXISTS (SELECT FROM pg_prepared_xacts) AS idle)sql"};
// $1: the backends that count; NULL: all but the agent's own.
constexpr Statement ask_oldest_transaction{"pgrm_oldest_transaction", R"sql(
SELECT extract(epoch FROM clock_timestamp() - xact_start) AS age,
       format('pid %s of %s in %s, %s', pid, usename, datname, state) AS who
  FROM pg_stat_activity
 WHERE backend_type = 'client backend' AND xact_start IS NOT NULL
   AND (application_name <> current_setting('application_name') OR usename <> session_user)
   AND ($1::int[] IS NULL OR pid = ANY ($1::int[]))
 ORDER BY xact_start LIMIT 1)sql"};
constexpr Statement ask_wal_flushed{
    "pgrm_wal_flushed", "SELECT CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_flush_lsn() END AS flushed"};
constexpr Statement ask_wal_replayed{"pgrm_wal_replayed", "SELECT pg_last_wal_replay_lsn() AS replayed"};
constexpr Statement ask_identity{"pgrm_identity", R"sql(
SELECT (SELECT system_identifier FROM pg_control_system()) AS system_identifier, r AS in_recovery,
       extract(epoch FROM pg_postmaster_start_time()) AS started_at,
       CASE WHEN NOT r THEN ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END AS timeline
  FROM (SELECT pg_is_in_recovery() AS r) AS role)sql"};
// The value of postgresql.auto.conf is the one in effect unless the server was started with the setting on its command
// line: then ALTER SYSTEM changes nothing, and the attack on the fence shows it.
constexpr Statement ask_fence_view{"pgrm_fence_view", R"sql(
WITH own AS (SELECT coalesce(r.rolname, 'every role') || ' in ' || coalesce(d.datname, 'every database') AS who, c AS setting
               FROM pg_db_role_setting AS s LEFT JOIN pg_roles AS r ON r.oid = s.setrole
                                            LEFT JOIN pg_database AS d ON d.oid = s.setdatabase,
                    unnest(s.setconfig) AS c),
     altered AS MATERIALIZED (SELECT name, reset_val FROM pg_settings
               WHERE name IN ('default_transaction_read_only', 'synchronous_standby_names')
                 AND sourcefile LIKE '%postgresql.auto.conf')
SELECT (SELECT reset_val FROM altered WHERE name = 'default_transaction_read_only') AS read_only,
       (SELECT reset_val FROM altered WHERE name = 'synchronous_standby_names') AS standby_names,
       (SELECT coalesce(json_agg(json_build_object('name', d.datname, 'owner', o.rolname, 'open', d.datallowconn,
                                                   'may_alter', pg_has_role(d.datdba, 'USAGE'),
                                                   'is_template', d.datistemplate) ORDER BY d.datname), '[]')
          FROM pg_database AS d JOIN pg_roles AS o ON o.oid = d.datdba
         WHERE d.datname NOT IN ('template0', 'template1', current_database())
           AND d.datconnlimit <> -2) AS databases,  -- of one whose DROP was interrupted: nobody gets in, and nobody may alter it
       (SELECT coalesce(json_agg(json_build_object('name', s.subname, 'database', d.datname,
                                                   'may_alter', pg_has_role(s.subowner, 'USAGE')) ORDER BY s.subname), '[]')
          FROM pg_subscription AS s JOIN pg_database AS d ON d.oid = s.subdbid WHERE s.subenabled) AS subscriptions,
       to_json(ARRAY(SELECT gid FROM pg_prepared_xacts ORDER BY 1)) AS prepared,
       to_json(ARRAY(SELECT who FROM own
                      WHERE setting ~* '^(default_)?transaction_read_only=(off?|fa?l?s?e?|no?|0)$' ORDER BY 1)) AS exceptions,
       to_json(ARRAY(SELECT who FROM own WHERE setting ~* '^synchronous_commit=(off|local|false|no|0)$' ORDER BY 1))
         AS wedge_exceptions,
       to_json(ARRAY(SELECT substr(setting, length('pgrm.cutover=') + 1) FROM own
                      WHERE starts_with(setting, 'pgrm.cutover=') ORDER BY 1)) AS markers)sql"};
constexpr Statement ask_overrides_in_file{"pgrm_overrides_in_file", R"sql(
SELECT max(setting) FILTER (WHERE name = 'default_transaction_read_only') AS read_only,
       max(setting) FILTER (WHERE name = 'synchronous_standby_names') AS standby_names
  FROM pg_file_settings WHERE sourcefile LIKE '%postgresql.auto.conf')sql"};
constexpr Statement ask_next_segment{"pgrm_next_segment", R"sql(
SELECT EXISTS (SELECT FROM pg_ls_waldir(), pg_size_bytes(current_setting('wal_segment_size')) AS segment (bytes)
                WHERE name ~ '^[0-9A-F]{24}$' AND starts_with(pg_walfile_name(pg_current_wal_lsn()), substr(name, 1, 8))
                  AND ('x' || substr(name, 9, 8))::bit(32)::bigint * (4294967296 / segment.bytes) +
                      ('x' || substr(name, 17, 8))::bit(32)::bigint =
                      div(pg_current_wal_insert_lsn() - '0/0', segment.bytes) + 1) AS there)sql"};
constexpr Statement ask_config_loaded{"pgrm_config_loaded", "SELECT pg_conf_load_time()::text AS loaded"};
constexpr Statement ask_system_settings{"pgrm_system_settings", R"sql(
SELECT name, reset_val AS value FROM pg_settings
 WHERE name = ANY ($1::text[]) AND sourcefile LIKE '%postgresql.auto.conf')sql"};
constexpr Statement ask_lock_holder{"pgrm_lock_holder", R"sql(
SELECT format('%s (pid %s, from %s, since %s)%s', a.application_name, a.pid, coalesce(host(a.client_addr), 'a socket'),
              to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
              CASE WHEN EXISTS (SELECT FROM pg_locks AS h
                                 WHERE h.locktype = 'advisory' AND h.granted AND h.objsubid = 1 AND h.pid = l.pid
                                   AND (h.classid::int8 << 32) + h.objid::int8 = x'7067726d686c64'::int8)
                   THEN ', on hold' ELSE '' END) AS holder
  FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
 WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
   AND (l.classid::int8 << 32) + l.objid::int8 = x'7067726d637574'::int8
   AND (a.datname = current_database() OR a.usename = current_user))sql"};
constexpr Statement ask_holds_lock{"pgrm_holds_lock", R"sql(
SELECT EXISTS (SELECT FROM pg_locks AS l WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.pid = pg_backend_pid()
                  AND (l.classid::int8 << 32) + l.objid::int8 = x'7067726d637574'::int8) AS held)sql"};
// An advisory lock counts in one database only, so an agent with another maintenance database could take it there.
constexpr Statement ask_twin_lock{"pgrm_twin_lock", R"sql(
SELECT EXISTS (SELECT FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
                WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.pid <> pg_backend_pid()
                  AND (l.classid::int8 << 32) + l.objid::int8 = x'7067726d637574'::int8
                  AND a.usename = current_user) AS held)sql"};
constexpr Statement ask_may_probe{"pgrm_may_probe", R"sql(
SELECT coalesce(has_table_privilege(to_regclass('pgrm.cutover_probe'), 'INSERT'), false) AS may)sql"};

// The same text that postgresql/roles.sql asks before it grants anything.
constexpr Statement ask_probe_table{"pgrm_probe_table", probe_table_sql};

constexpr Statement ask_relation_names{"pgrm_relation_names", R"sql(
SELECT coalesce((SELECT pg_filenode_relation(part[1]::oid, part[3]::oid)::regclass::text
                   FROM pg_database AS d WHERE d.datname = current_database() AND d.oid = part[2]::oid), file) AS name
  FROM unnest($1::text[]) WITH ORDINALITY AS f (file, n), string_to_array(file, '/') AS part ORDER BY n)sql"};
constexpr Statement ask_replication_slot{"pgrm_replication_slot",
                                         "SELECT current_setting('primary_slot_name') AS name"};
constexpr Statement ask_primary_conninfo{"pgrm_primary_conninfo",
                                         "SELECT current_setting('primary_conninfo') AS conninfo"};

std::optional<Duration> seconds(const std::optional<double>& value) {
  if (!value) return std::nullopt;
  return from_seconds(*value);
}

int to_int(const std::optional<std::int64_t>& value) { return static_cast<int>(value.value_or(0)); }

/// A list or an object that the server made of names. A name may be in whatever encoding its creator had: bytes that
/// are not UTF-8 become U+FFFD.
nlohmann::json parse_json(const Value& json) { return nlohmann::json::parse(valid_utf8(json.value_or("[]"))); }

std::vector<std::string> names(const Value& json) { return parse_json(json).get<std::vector<std::string>>(); }

std::vector<Database> databases(const Value& json) {
  std::vector<Database> result;
  for (const auto& row : parse_json(json)) {
    result.push_back({row.at("name"), row.at("owner"), row.at("open"), row.at("may_alter"), row.at("is_template")});
  }
  return result;
}

std::vector<Subscription> subscriptions(const Value& json) {
  std::vector<Subscription> result;
  for (const auto& row : parse_json(json)) {
    result.push_back({row.at("name"), row.at("database"), row.at("may_alter")});
  }
  return result;
}

Identity identity_from(const Rows& answer) {
  const auto row = answer.one();
  Identity identity{row.text("system_identifier").value_or(""), std::nullopt, row.boolean("in_recovery").value(),
                    row.time("started_at").value_or(WallTime{})};
  if (const auto timeline = row.integer("timeline")) identity.timeline = static_cast<std::uint32_t>(*timeline);
  return identity;
}

class ServerNode final : public Node {
 public:
  ServerNode(const Conninfo& server, NodeOptions options)
      : session_(server, options.application_name, options.told),
        observer_(options.observer_timeout ? Observer::For::watching : Observer::For::acting),
        options_(std::move(options)) {}

  std::string describe() const override { return session_.conninfo().describe(); }
  std::string address() const override { return session_.conninfo().address(); }
  void refuse_strangers(std::function<std::string(const Identity&)> stranger) override {
    stranger_ = std::move(stranger);
  }
  void disconnect() override { session_.close(); }
  bool is_connected() const override { return session_.is_open(); }

  ServerState observe(Duration deadline) override {
    const bool had_connection = session_.is_open();
    try {
      return look(deadline);
    } catch (const Error& error) {
      // A server that hung up since the last look says nothing about this one. Only an observer may just call again:
      // with an agent's session a lock, or the knowledge which sessions were there, is gone.
      if (!options_.observer_timeout || !had_connection || error.code() != ErrorCode::connection_lost) throw;
      return look(deadline);
    }
  }

  ServerFacts facts(Duration deadline) override {
    const Budget budget(deadline);
    ServerFacts facts;
    const Rows settings = ask(read_settings, {}, budget.left());
    std::vector<std::string> command_line;
    for (std::size_t i = 0; i < settings.size(); ++i) {
      const std::string name = settings[i].text("name").value_or("");
      facts.settings[name] = settings[i].text("value").value_or("");
      if (settings[i].boolean("pending_restart").value_or(false)) facts.pending_restart.push_back(name);
      if (settings[i].boolean("command_line").value_or(false)) command_line.push_back(name);
    }
    const Rows answer = ask(read_facts, {}, budget.left());
    const auto row = answer.one();
    facts.superuser = row.boolean("superuser").value_or(false);
    facts.prepared_transactions = to_int(row.integer("prepared_transactions"));
    facts.oldest_transaction = seconds(row.real("oldest"));
    facts.superuser_sessions = to_int(row.integer("superuser_sessions"));
    facts.base_backup_running = row.boolean("base_backup");
    facts.logical_slots = names(row.text("logical_slots"));
    FenceView view = fence_view(budget.left());
    facts.databases = std::move(view.databases);
    facts.subscriptions = std::move(view.subscriptions);
    facts.idle_in_transaction = to_int(row.integer("idle_in_transaction"));
    facts.advisory_lock_sessions = to_int(row.integer("advisory"));
    facts.client_roles = names(row.text("client_roles"));
    facts.conflicts = row.integer("conflicts").value_or(0);
    // A statement that names the function fails without the right to execute it, whether it gets there or not.
    if (row.boolean("archive_status").value_or(false)) {
      facts.archive_ready = ask(read_archive_ready, {}, budget.left()).one().integer("ready");
    }
    if (row.boolean("file_settings").value_or(false)) {
      facts.file_errors = names(ask(read_file_errors, {}, budget.left()).one().text("errors"));
    }
    facts.traces = traces(budget.left());
    facts.traces.command_line = std::move(command_line);
    facts.archiver_failing = row.boolean("archiver_failing").value_or(false);
    facts.collation_mismatches = names(ask(by_version().collations, {}, budget.left()).one().text("mismatches"));
    facts.rights["REPLICATION"] = row.boolean("replication").value_or(false);
    facts.rights["pg_read_all_settings"] = row.boolean("read_settings").value_or(false);
    facts.rights["pg_file_settings"] = row.boolean("file_settings").value_or(false);
    facts.rights["pg_signal_backend"] = row.boolean("signal_backend").value_or(false);
    facts.rights["pg_promote"] = row.boolean("promote").value_or(false);
    facts.rights["pg_switch_wal"] = row.boolean("switch_wal").value_or(false);
    facts.rights["pg_reload_conf"] = row.boolean("reload").value_or(false);
    const Rows more = ask(by_version().rights, {}, budget.left());
    facts.rights["ALTER SYSTEM default_transaction_read_only"] = more.one().boolean("alter_system").value_or(false);
    facts.rights["ALTER SYSTEM synchronous_standby_names"] = more.one().boolean("alter_standbys").value_or(false);
    facts.rights["ALTER SYSTEM primary_conninfo"] = more.one().boolean("alter_conninfo").value_or(false);
    facts.rights["ALTER SYSTEM wal_init_zero"] = more.one().boolean("alter_init_zero").value_or(false);
    facts.rights["ALTER SYSTEM restore_command"] = more.one().boolean("alter_restore").value_or(false);
    facts.rights["pg_checkpoint"] = more.one().boolean("checkpoint").value_or(false);
    return facts;
  }

  DatabaseFacts database_facts(Duration deadline) override {
    const Rows answer = ask(read_database_facts, {}, deadline);
    const auto row = answer.one();
    return {
        .owner = row.text("owner").value_or(""),
        .unlogged_tables = names(row.text("unlogged")),
        .invalid_indexes = names(row.text("invalid")),
        .missing_extensions = names(row.text("missing")),
        .differing_extensions = names(row.text("differing")),
        .collation_mismatches = names(row.text("collations")),
        .login_triggers = names(row.text("login_triggers")),
        .probe_publications = names(row.text("probe_publications")),
    };
  }

  std::string refusal_of(const std::string& role, Duration deadline) override {
    return refusal_without_password(session_.conninfo().with("user", role), deadline);
  }

  bool in_recovery(Duration deadline) override { return ask(ask_in_recovery, {}, deadline).one().boolean("r").value(); }

  WalEnd wal_end(Duration deadline) override {
    const Rows answer = ask(ask_wal_end, {}, deadline);
    const auto row = answer.one();
    return {row.lsn("insert").value(), row.lsn("flush").value(),
            static_cast<std::uint64_t>(row.integer("next_xid").value()), row.boolean("idle").value()};
  }

  std::optional<Lsn> wal_flushed(Duration deadline) override {
    return ask(ask_wal_flushed, {}, deadline).one().lsn("flushed");
  }

  std::optional<OldestTransaction> oldest_transaction(const std::optional<std::vector<int>>& pids,
                                                      Duration deadline) override {
    const Rows oldest =
        ask(ask_oldest_transaction, {pids ? Value(fmt::format("{{{}}}", fmt::join(*pids, ","))) : Value()}, deadline);
    if (oldest.size() == 0) return std::nullopt;
    const auto row = oldest.one();
    return OldestTransaction{from_seconds(row.real("age").value()), valid_utf8(row.text("who").value_or(""))};
  }

  std::optional<Lsn> wal_replayed(Duration deadline) override {
    return ask(ask_wal_replayed, {}, deadline).one().lsn("replayed");
  }

  std::optional<PromotionWork> promotion_work(Duration deadline) override {
    const Budget budget(deadline);
    if (!ask(ask_wal_directory_right, {}, budget.left()).one().boolean("may").value()) return std::nullopt;
    const Rows work = ask(read_promotion_work, {}, budget.left());
    return PromotionWork{to_int(work.one().integer("directories")), to_int(work.one().integer("spare"))};
  }

  Identity identity(Duration deadline) override { return identity_from(ask(ask_identity, {}, deadline)); }

  std::future<Identity> fresh_identity(Duration deadline) override {
    return std::async(std::launch::async,
                      [server = session_.conninfo(), by_name = session_.by_name(), options = options_, deadline] {
                        const auto ask_at = [&options](const Conninfo& address, Duration share) {
                          const Budget budget(share);
                          Session session(address, options.application_name, options.told);
                          open_with_settings(session, options.observer_timeout, budget.left());
                          return identity_from(session.execute(ask_identity, {}, budget.left()));
                        };
                        if (!by_name) return ask_at(server, deadline);
                        try {
                          return ask_at(server, deadline / 2);
                        } catch (const Error& error) {
                          if (error.code() != ErrorCode::unreachable) throw;
                          return ask_at(*by_name, deadline / 2);  // it may have another address by now
                        }
                      });
  }

  FenceView fence_view(Duration deadline) override {
    const Rows answer = ask(ask_fence_view, {}, deadline);
    const auto row = answer.one();
    return {.overrides = {row.text("read_only"), row.text("standby_names")},
            .databases = databases(row.text("databases")),
            .subscriptions = subscriptions(row.text("subscriptions")),
            .prepared_transactions = names(row.text("prepared")),
            .read_only_exceptions = names(row.text("exceptions")),
            .wedge_exceptions = names(row.text("wedge_exceptions")),
            .markers = names(row.text("markers"))};
  }

  std::optional<Overrides> overrides_in_file(Duration deadline) override {
    try {
      const Rows answer = ask(ask_overrides_in_file, {}, deadline);
      return Overrides{answer.one().text("read_only"), answer.one().text("standby_names")};
    } catch (const Error& error) {
      if (error.code() != ErrorCode::permission_denied) throw;
      return std::nullopt;
    }
  }

  std::future<bool> accepts_connections(Duration deadline) override {
    return std::async(std::launch::async, [server = session_.conninfo(), by_name = session_.by_name(), deadline] {
      return ping(server, deadline) == Ping::accepts || (by_name && ping(*by_name, deadline) == Ping::accepts);
    });
  }

  std::vector<ClientSession> client_sessions(Duration deadline) override {
    return sessions(Began::whenever, {}, std::nullopt, deadline).left;
  }

  std::vector<Writer> writers(Duration deadline) override { return writers(false, deadline); }
  std::vector<Writer> end_writers(Duration deadline) override { return writers(true, deadline); }

  void prepare_orders(Duration deadline) override {
    const Budget budget(deadline);
    open(budget.left());
    for (const Statement* const statement :
         {&ask_config_loaded, &orders::reload, &orders::flush, &orders::switch_wal, &orders::promote}) {
      session_.prepare(*statement, budget.left());
    }
    const Rows may = ask(ask_may_probe, {}, budget.left());
    // Only the application's database has the table.
    if (!may.one().boolean("may").value()) return;
    session_.prepare(orders::probe, budget.left());
    // Planned as well: the first INSERT of a session spends most of its time on learning what the table is like.
    session_.script(fmt::format("EXPLAIN EXECUTE {} ('')", orders::probe.name), budget.left());
    ask(orders::probe_present, {""}, budget.left());
  }

  void alter_system(const Overrides& values, Duration deadline) override {
    const Budget budget(deadline);
    open(budget.left());
    alter_system("default_transaction_read_only", values.read_only, budget.left());
    alter_system("synchronous_standby_names", values.standby_names, budget.left());
  }

  Reload order_reload(Duration deadline) override {
    return {ask(orders::reload, {}, deadline).one().text("loaded").value_or("")};
  }

  void await_reload(const Reload& ordered, Duration deadline) override {
    const Budget budget(deadline);
    // The postmaster reloads before it tells its children: once this session has reloaded, every new one has it too.
    for (;;) {
      const Rows answer = ask(ask_config_loaded, {}, budget.left());
      if (answer.one().text("loaded") != ordered.loaded_before) return;
      if (budget.over()) {
        throw Error(ErrorCode::timeout, describe() + " has not reloaded its configuration in time");
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

  std::future<void> allow_connections(const std::vector<std::string>& names, bool allow, Duration deadline) override {
    return std::async(std::launch::async, [this, names, allow, deadline] {
      write_each(names, orders::allow_connections, allow, deadline);
    });
  }

  void try_to_close(const std::vector<std::string>& names, Duration deadline) override {
    if (names.empty()) return;
    const Budget budget(deadline);
    open(budget.left());
    try {
      session_.script(orders::and_back(for_each(names, orders::allow_connections, false), budget.left()),
                      budget.left());
    } catch (const SqlError&) {
      session_.script("ROLLBACK", budget.left());
      throw;
    }
  }

  void set_marker(const std::optional<std::string>& words, Duration deadline) override {
    const Budget budget(deadline);
    open(budget.left());
    write({orders::set_marker(literal(words))}, budget.left());
  }

  void enable_subscriptions(const std::vector<std::string>& names, bool enable, Duration deadline) override {
    write_each(names, orders::enable_subscription, enable, deadline);
  }

  EndingSessions end_sessions(Began began, const std::vector<std::string>& in, const std::set<int>& asked,
                              Duration deadline) override {
    return sessions(began, in, fmt::format("{{{}}}", fmt::join(asked, ",")), deadline);
  }

  EndingSessions reload_and_end_sessions(const std::vector<std::string>& in, Duration deadline) override {
    const Budget budget(deadline);
    open(budget.left());
    session_.prepare(orders::client_sessions, budget.left());
    return sessions(
        session_.script(orders::reload_and_end_sessions(session_.quote_literal(orders::array_of(in))), budget.left()));
  }

  void checkpoint(Duration deadline) override {
    open(deadline);
    session_.script("CHECKPOINT", deadline);
  }

  void flush_wal(Duration deadline) override { ask(orders::flush, {}, deadline); }

  void fill_wal(std::int64_t bytes, Duration deadline) override {
    const std::int64_t whole = bytes / orders::largest_message, rest = bytes % orders::largest_message;
    const Budget budget(deadline);
    if (whole > 0) ask(orders::fill, {std::to_string(whole), std::to_string(orders::largest_message)}, budget.left());
    if (rest > 0) ask(orders::fill, {"1", std::to_string(rest)}, budget.left());
  }

  bool has_next_segment(Duration deadline) override {
    try {
      return ask(ask_next_segment, {}, deadline).one().boolean("there").value();
    } catch (const Error& error) {
      if (error.code() != ErrorCode::permission_denied) throw;
      return false;
    }
  }

  bool switch_wal(std::int64_t most, Duration deadline) override {
    return ask(orders::switch_wal, {std::to_string(most)}, deadline).one().lsn("at").has_value();
  }

  SystemSettings system_settings(const std::vector<std::string>& settings, Duration deadline) override {
    SystemSettings values;
    for (const std::string& name : settings) values[name] = std::nullopt;
    const Rows rows = ask(ask_system_settings, {fmt::format("{{{}}}", fmt::join(settings, ","))}, deadline);
    for (std::size_t i = 0; i < rows.size(); ++i) values[rows[i].text("name").value()] = rows[i].text("value");
    return values;
  }

  void set_system_settings(const SystemSettings& values, Duration deadline) override {
    const Budget budget(deadline);
    open(budget.left());
    for (const auto& [name, value] : values) alter_system(name, value, budget.left());
    reload(budget.left());
  }

  bool promote(Duration deadline) override {
    // A server that has hung up beforehand gets no order, so that it is certain that none was given.
    if (session_.is_open() && session_.closed_by_server()) {
      session_.close();
      throw Error(ErrorCode::unreachable, describe() + " has ended the agent's session: nothing was ordered yet");
    }
    try {
      return ask(orders::promote, {}, deadline).one().boolean("done").value_or(false);
    } catch (const SqlError& refusal) {
      const std::string_view what = std::string_view(refusal.sqlstate()).substr(0, 2);
      // The server makes a file before it tells its postmaster, and could not: classes 42, 53 and 58. After an error of
      // the disk (58030) the file may be there, and the postmaster may find it later.
      const bool not_made = what == "42" || what == "53" || (what == "58" && refusal.sqlstate() != "58030");
      if (not_made) throw Error(ErrorCode::file_failed, refusal.what());
      throw;
    }
  }

  bool try_lock(Duration deadline) override {
    const Budget budget(deadline);
    if (!ask(orders::lock, {}, budget.left()).one().boolean("held").value()) return false;
    if (!ask(ask_twin_lock, {}, budget.left()).one().boolean("held").value()) return true;
    ask(orders::unlock, {}, budget.left());
    return false;
  }

  bool end_own_lock(Duration deadline) override {
    return ask(orders::end_own_lock, {}, deadline).one().integer("there") != 0;
  }

  bool holds_lock(Duration deadline) override {
    return session_.is_open() && ask(ask_holds_lock, {}, deadline).one().boolean("held").value();
  }

  void show_hold(bool holding, Duration deadline) override {
    ask(orders::show_hold, {std::string(holding ? "true" : "false")}, deadline);
  }

  void end_predecessors(Duration deadline) override {
    const Budget budget(deadline);
    while (ask(orders::end_predecessors, {}, budget.left()).one().integer("there") != 0) {
      if (budget.over()) {
        throw Error(ErrorCode::timeout, "sessions of the agent that died are still there: " + describe(),
                    "select * from pg_stat_activity where application_name like 'pgrm-agent%'");
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }

  std::string lock_holder(Duration deadline) override {
    const Rows answer = ask(ask_lock_holder, {}, deadline);
    return answer.size() == 0 ? "" : answer[0].text("holder").value_or("");
  }

  std::future<WriteProbe> write_probe(const std::string& cutover_id, Duration deadline) override {
    return std::async(std::launch::async, [this, cutover_id, deadline] {
      WriteProbe probe;
      try {
        ask(orders::probe, {cutover_id}, deadline);
        probe.accepted = true;
      } catch (const SqlError& refusal) {
        probe.read_only = refusal.code() == ErrorCode::read_only;
        probe.refusal = refusal.what();
      }
      return probe;
    });
  }

  WriteProbe write_and_read(const std::string& cutover_id, Duration deadline) override {
    const Budget budget(deadline);
    open(budget.left());
    WriteProbe probe;
    try {
      session_.prepare(orders::probe, budget.left());
      session_.prepare(orders::probe_present, budget.left());
      const Rows answer = session_.script(orders::write_and_read(session_.quote_literal(cutover_id)), budget.left());
      probe.accepted = true;
      probe.reads_back = answer.one().boolean("present").value();
    } catch (const SqlError& refusal) {
      session_.script("ROLLBACK", budget.left());
      probe.read_only = refusal.code() == ErrorCode::read_only;
      probe.refusal = refusal.what();
    }
    return probe;
  }

  std::future<WriteProbe> attack(const Attack& how, Duration deadline) override {
    return std::async(std::launch::async, [server = session_.conninfo(), options = options_, how, deadline] {
      if (options.told) std::ranges::for_each(orders::attack(how), options.told);
      return attack_server(server, options.application_name, how, deadline);
    });
  }

  bool may_write_probe(Duration deadline) override {
    return ask(ask_may_probe, {}, deadline).one().boolean("may").value();
  }

  std::vector<std::string> probe_table_problems(Duration deadline) override {
    return names(ask(ask_probe_table, {}, deadline).one().text("problems"));
  }

  std::vector<std::string> relation_names(const std::vector<std::string>& files, Duration deadline) override {
    const Rows answer = ask(ask_relation_names, {orders::array_of(files)}, deadline);
    std::vector<std::string> found;
    for (std::size_t i = 0; i < answer.size(); ++i) found.push_back(answer[i].text("name").value_or(""));
    return found;
  }

  std::string replication_slot(Duration deadline) override {
    return ask(ask_replication_slot, {}, deadline).one().text("name").value_or("");
  }

  bool create_slot(const std::string& name, Duration deadline) override {
    return ask(orders::create_slot, {name}, deadline).size() > 0;
  }
  void drop_slot(const std::string& name, Duration deadline) override { ask(orders::drop_slot, {name}, deadline); }

  void follow(const Conninfo& primary, Duration deadline) override {
    const Budget budget(deadline);
    const Rows answer = ask(ask_primary_conninfo, {}, budget.left());
    const Conninfo redirected = Conninfo::parse(answer.one().text("conninfo").value_or(""))
                                    .with("hostaddr", "")
                                    .with("host", primary.host())
                                    .with("port", primary.port());
    alter_system("primary_conninfo", redirected.text().reveal(), budget.left());
    reload(budget.left());
  }

 private:
  /// `asked`: the array of those who have been asked to end already; nullopt: nobody is asked.
  EndingSessions sessions(Began began, const std::vector<std::string>& in, const Value& asked, Duration deadline) {
    return sessions(ask(orders::client_sessions, {orders::words_of(began), orders::array_of(in), asked}, deadline));
  }

  static EndingSessions sessions(const Rows& answer) {
    EndingSessions sessions{{}, answer[0].text("loaded").value_or("")};
    for (std::size_t i = 1; i < answer.size(); ++i) {
      const auto row = answer[i];
      sessions.left.push_back({to_int(row.integer("pid")), row.text("user").value_or(""),
                               row.text("database").value_or(""), row.text("application_name").value_or(""),
                               row.text("state").value_or(""), row.boolean("superuser").value_or(false),
                               row.boolean("asked_to_end").value_or(false)});
    }
    return sessions;
  }

  std::vector<Writer> writers(bool end, Duration deadline) {
    const Rows answer = ask(orders::writers, {std::string(end ? "true" : "false")}, deadline);
    std::vector<Writer> writers;
    for (std::size_t i = 0; i < answer.size(); ++i) {
      const auto row = answer[i];
      writers.push_back({.pid = to_int(row.integer("pid")),
                         .user = row.text("user").value_or(""),
                         .database = row.text("database").value_or(""),
                         .application_name = row.text("application_name").value_or(""),
                         .address = row.text("address").value_or(""),
                         .state = row.text("state").value_or(""),
                         .since = row.time("since").value_or(WallTime{}),
                         .listens = row.boolean("listens").value_or(false)});
    }
    return writers;
  }

  /// ALTER SYSTEM takes no parameters, and shares a message with nothing else.
  void alter_system(std::string_view setting, const std::optional<std::string>& value, Duration deadline) {
    session_.script(orders::alter_system(setting, literal(value)), deadline);
  }

  /// REQUIRES: an open session.
  std::optional<std::string> literal(const std::optional<std::string>& text) const {
    return text ? std::optional(session_.quote_literal(*text)) : std::nullopt;
  }

  Traces traces(Duration deadline) {
    const Rows answer = ask(read_traces, {}, deadline);
    const auto row = answer.one();
    return {.applications = names(row.text("applications")),
            .backends = names(row.text("backends")),
            .roles = names(row.text("roles")),
            .databases = names(row.text("databases")),
            .slots = names(row.text("slots")),
            .files = names(row.text("files")),
            .libraries = names(row.text("libraries")),
            .commands = names(row.text("commands")),
            .command_line = {}};
  }

  ServerState look(Duration deadline) {
    const Budget budget(deadline);
    if (hidden_) session_.close();  // whether it still is, only a login tells
    open(deadline);
    ServerState state = observer_.look(session_, budget.left());
    hidden_ = options_.observer_timeout && !state.read_only_hidden_by.empty();
    return state;
  }

  void open(Duration deadline) {
    if (session_.is_open()) return;
    const Budget budget(deadline);
    open_with_settings(session_, options_.observer_timeout, budget.left());
    if (options_.observer_timeout) return;  // an observer looks the name up at every login
    session_.keep_address();
    if (!stranger_) return;
    try {
      const std::string why = stranger_(identity_from(session_.execute(ask_identity, {}, budget.left())));
      if (why.empty()) return;
      throw Error(ErrorCode::unreachable, address() + " " + why,
                  "give each server an address of its own, which no cutover moves: PRIMARY_HOST, REPLICA_HOST");
    } catch (const Error&) {
      session_.close();
      throw;
    }
  }

  /// REQUIRES: an open session.
  void write(const std::vector<std::string>& orders, Duration deadline) {
    session_.script(orders::in_one_transaction(orders, deadline), deadline);
  }

  using Order = std::string(std::string_view identifier, bool how);

  /// The same order for each name; nothing when there are none.
  void write_each(const std::vector<std::string>& names, Order order, bool how, Duration deadline) {
    if (names.empty()) return;
    const Budget budget(deadline);
    open(budget.left());
    write(for_each(names, order, how), budget.left());
  }

  /// REQUIRES: an open session.
  std::vector<std::string> for_each(const std::vector<std::string>& names, Order order, bool how) const {
    std::vector<std::string> orders;
    for (const std::string& name : names) orders.push_back(order(session_.quote_identifier(name), how));
    return orders;
  }

  Rows ask(const Statement& statement, const Params& params, Duration deadline) {
    open(deadline);
    return session_.execute(statement, params, deadline);
  }

  const VersionDependent& by_version() {
    for (const VersionDependent& row : version_dependent) {
      if (session_.server_version() >= row.since) return row;
    }
    throw Error(ErrorCode::internal, "no row for this server version");
  }

  Session session_;
  Observer observer_;
  std::function<std::string(const Identity&)> stranger_;
  bool hidden_ = false;  // the server's default_transaction_read_only, by this role's own
  NodeOptions options_;
};

}  // namespace

std::unique_ptr<Node> make_server_node(const Conninfo& server, const NodeOptions& options) {
  return std::make_unique<ServerNode>(server, options);
}

}  // namespace pgrm
