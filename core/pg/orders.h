// The SQL of a Node's orders, once: server_node.cc sends it, and a plan prints it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/clock.h"
#include "core/pg/node.h"
#include "core/pg/statement.h"

namespace pgrm::orders {

// The session itself reloads between two statements, never within one.
inline constexpr Statement reload{"pgrm_reload",
                                  "SELECT pg_conf_load_time()::text AS loaded, pg_reload_conf() AS done"};
// A backend that is logging in holds a lock on its database until pg_stat_activity shows that database (InitPostgres),
// and it looks only behind that lock whether the database is open. So after the gate is shut, no backend is missed by a
// query that reads the locks first: the first row, always there for `loaded`, has them read. From 18 on a backend has
// a row before it has told who it is; one that never tells is no client yet, and holds no lock.
//
// Only a superuser may end a superuser's session: for other roles it is left alone, and they see that it stays. From 16
// on a session that is ending has no role any more, and asking it again is an error: it is left alone as well. Own
// sessions are those of this role and this name: anybody may call itself the same.
//
// The postmaster reloads before it tells its children: every backend that began after this session has reloaded has the
// new configuration, too.
inline constexpr Statement client_sessions{"pgrm_client_sessions", R"sql(
WITH locks AS MATERIALIZED (
       SELECT l.pid, d.datname FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.objid
        WHERE l.locktype = 'object' AND l.classid = 'pg_database'::regclass AND l.mode = 'RowExclusiveLock'
          AND d.datname = ANY ($2::text[]))
SELECT NULL AS pid, NULL AS "user", NULL AS database, NULL AS application_name, NULL AS state, NULL AS superuser,
       NULL AS asked_to_end, pg_conf_load_time()::text AS loaded WHERE (SELECT count(*) FROM locks) >= 0
UNION ALL
SELECT a.pid, coalesce(a.usename, '') AS "user", coalesce(a.datname, '') AS database, a.application_name,
       coalesce(a.state, a.backend_type) AS state, coalesce(r.rolsuper, false) AS superuser,
       CASE WHEN a.pid <> ALL ($3::int[]) AND a.usesysid IS NOT NULL AND
                 (NOT coalesce(r.rolsuper, false) OR
                               (SELECT rolsuper FROM pg_roles WHERE rolname = current_user))
            THEN pg_terminate_backend(a.pid) END, NULL
  FROM pg_stat_activity AS a LEFT JOIN pg_roles AS r ON r.oid = a.usesysid
 WHERE (a.backend_type IN ('client backend', 'walsender') AND a.datid IS NOT NULL
        OR a.backend_type LIKE 'logical replication %worker')
   AND (a.application_name <> current_setting('application_name') OR a.usename IS DISTINCT FROM session_user)
   AND ($1 = 'whenever' OR $1 = 'before reload' AND a.backend_start < pg_conf_load_time() OR a.datname = ANY ($2::text[]))
UNION ALL
SELECT l.pid, '', l.datname, '', 'being let in', false, NULL, NULL FROM locks AS l
 WHERE NOT EXISTS (SELECT FROM pg_stat_activity AS a WHERE a.pid = l.pid AND a.datid IS NOT NULL)
 ORDER BY pid NULLS FIRST)sql"};
// A role's setting in one database beats that of the role, and that one the database's: any of them tells the intent.
inline constexpr Statement writers{"pgrm_writers", R"sql(
SELECT a.pid, a.usename AS "user", a.datname AS database, a.application_name, a.state,
       coalesce(host(a.client_addr), 'a socket') AS address, extract(epoch FROM a.backend_start) AS since,
       coalesce(a.query ~* '^\s*LISTEN\y', false) AS listens,
       CASE WHEN $1::bool THEN pg_terminate_backend(a.pid) END AS asked_to_end
  FROM pg_stat_activity AS a JOIN pg_roles AS r ON r.oid = a.usesysid
 WHERE a.backend_type = 'client backend'
   AND (a.application_name !~ '^pgrm-(agent|exporter)' OR a.usename <> session_user)
   AND NOT r.rolsuper AND NOT pg_has_role(r.oid, 'pg_monitor', 'usage')
   AND NOT EXISTS (SELECT FROM pg_db_role_setting AS s, unnest(s.setconfig) AS setting
                    WHERE s.setrole IN (0, a.usesysid) AND s.setdatabase IN (0, a.datid)
                      AND setting ~* '^default_transaction_read_only=(on|true|yes|1)$')
 ORDER BY a.backend_start, a.pid)sql"};
// A transactional message writes WAL, and its commit flushes; no table is touched, so a read-only default does not
// matter.
inline constexpr Statement flush{"pgrm_flush", R"sql(
SELECT set_config('synchronous_commit', 'local', true), pg_logical_emit_message(true, 'pgrm', '') AS at)sql"};
// A message as large as this is built in the server's memory, and so are many of them one after the other.
inline constexpr std::int64_t largest_message = 1 << 20;
inline constexpr Statement fill{"pgrm_fill", R"sql(
SELECT count(pg_logical_emit_message(false, 'pgrm', repeat('0', $2::int))) FROM generate_series(1, $1::int))sql"};
inline constexpr Statement switch_wal{"pgrm_switch", R"sql(
SELECT CASE WHEN l.bytes > 0 AND l.bytes <= $1::int8 THEN pg_switch_wal() END AS at
  FROM pg_size_bytes(current_setting('wal_segment_size')) AS segment (bytes),
       LATERAL (SELECT mod(segment.bytes - mod(pg_current_wal_insert_lsn() - '0/0', segment.bytes), segment.bytes)) AS l (bytes))sql"};
inline constexpr Statement promote{"pgrm_promote", "SELECT pg_promote(wait => false) AS done"};
// The key is "pgrmcut" as a number: one agent per cluster, whatever the application.
inline constexpr Statement lock{"pgrm_lock", "SELECT pg_try_advisory_lock(x'7067726d637574'::bigint) AS held"};
inline constexpr Statement unlock{"pgrm_unlock", "SELECT pg_advisory_unlock(x'7067726d637574'::bigint)"};
inline constexpr Statement end_own_lock{"pgrm_end_own_lock", R"sql(
SELECT count(pg_terminate_backend(a.pid)) AS there FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
 WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.pid <> pg_backend_pid()
   AND (l.classid::int8 << 32) + l.objid::int8 = x'7067726d637574'::int8
   AND a.application_name = current_setting('application_name') AND a.usename = current_user)sql"};
// "pgrmhld": its holder has the lock as well, and waits.
inline constexpr Statement show_hold{"pgrm_show_hold", R"sql(
SELECT CASE WHEN $1::bool THEN pg_try_advisory_lock(x'7067726d686c64'::bigint)
            ELSE pg_advisory_unlock(x'7067726d686c64'::bigint) END AS done)sql"};
inline constexpr Statement end_predecessors{"pgrm_end_predecessors", R"sql(
SELECT count(pg_terminate_backend(pid)) AS there FROM pg_stat_activity
 WHERE application_name = current_setting('application_name') AND pid <> pg_backend_pid() AND usename = current_user)sql"};
inline constexpr Statement probe{"pgrm_probe", "INSERT INTO pgrm.cutover_probe (cutover) VALUES ($1)"};
inline constexpr Statement probe_present{
    "pgrm_probe_present", "SELECT EXISTS (SELECT FROM pgrm.cutover_probe WHERE cutover = $1) AS present"};
inline constexpr Statement create_slot{"pgrm_create_slot", R"sql(
SELECT pg_create_physical_replication_slot($1, true)
 WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = $1))sql"};
inline constexpr Statement drop_slot{"pgrm_drop_slot", R"sql(
SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1)sql"};

/// The first parameter of client_sessions.
std::string words_of(Began began);
/// {"a","b"}: an array as one parameter.
std::string array_of(const std::vector<std::string>& texts);

// What takes no parameters, because PostgreSQL does not allow them there. Names and values are handed over as they
// stand in SQL: as identifiers and literals, quotes included.

std::string alter_system(std::string_view setting, const std::optional<std::string>& literal);
std::string allow_connections(std::string_view database, bool allow);
std::string enable_subscription(std::string_view subscription, bool enable);
/// Words about a cutover, kept with the session's own role.
std::string set_marker(const std::optional<std::string>& literal);
/// order_reload() and the first end_sessions() in one message: the session itself reloads only after it. `databases`:
/// array_of() them.
std::string reload_and_end_sessions(std::string_view databases);
/// A row of `cutover` is committed and read back.
std::string write_and_read(std::string_view cutover_id);
/// All of them in the one transaction that a message with several statements is. It writes behind a read-only default,
/// and its commit waits for no standby. The server gives up before `deadline`: an order that waits for a lock must not
/// be carried out later.
std::string in_one_transaction(const std::vector<std::string>& orders, Duration deadline);
/// The same, taken back before anybody sees it.
std::string and_back(const std::vector<std::string>& orders, Duration deadline);

// What attack.cc sends over a connection of its own, one after the other; closing the connection rolls it back.
std::vector<std::string> attack(const Attack& how);

}  // namespace pgrm::orders
