#include "core/pg/session_settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>

#include "core/base/budget.h"
#include "core/base/error.h"
#include "core/pg/session.h"

namespace pgrm {
namespace {

// In one message: whatever its role, its database or the server sets must not change what a session sees or cut it
// short. In this order: a statement_timeout of a millisecond ends with the first of them.

struct SessionSetting {
  const char* name;
  int since;             // version of PostgreSQL
  const char* watching;  // for an observer; {timeout}: its own limit for a statement, {lock}: a part of that
  const char* acting;    // nullptr: as the server has it
};
constexpr std::array session_settings_table{
    SessionSetting{"statement_timeout", 0, "{timeout}", "0"},
    SessionSetting{"transaction_timeout", 170000, "0", "0"},
    // A lock is waited for so briefly that what it blocks does not use up the time of the rest.
    // An order that waits for one ends before the agent gives it up and shuts the connection: then it is known not to
    // have been carried out.
    SessionSetting{"lock_timeout", 0, "{lock}", "2000"},
    // What waits for no lock (a checkpoint, WAL to fill) ends soon after the agent has given it up or has died.
    SessionSetting{"client_connection_check_interval", 140000, nullptr, "500"},
    SessionSetting{"idle_in_transaction_session_timeout", 0, "0", "0"},
    SessionSetting{"idle_session_timeout", 140000, "0", "0"},
    // A standby knows no serializable transactions, and one that is deferrable waits for others.
    SessionSetting{"default_transaction_isolation", 0, "'read committed'", "'read committed'"},
    SessionSetting{"default_transaction_deferrable", 0, "off", "off"},
    // Else a function of somebody else's in "public" that fits better than pg_catalog's runs with our rights.
    SessionSetting{"search_path", 0, "pg_catalog, pg_temp", "pg_catalog, pg_temp"},
    SessionSetting{"extra_float_digits", 0, "1", "1"},  // 13 has times as floating point numbers
    // Statements are planned once: planning one for its parameters takes longer than running it.
    SessionSetting{"plan_cache_mode", 0, nullptr, "force_generic_plan"},
    // A server that cannot reach this program any more ends the session by itself, within half a minute. The agent's
    // sessions send keepalives, too, so that no firewall drops them as idle.
    SessionSetting{"tcp_keepalives_idle", 0, "10", "10"},
    SessionSetting{"tcp_keepalives_interval", 0, "5", "5"},
    SessionSetting{"tcp_keepalives_count", 0, "3", "3"},
    SessionSetting{"tcp_user_timeout", 0, "25000", "25000"},
};

}  // namespace

void open_with_settings(Session& session, const std::optional<Duration>& observer_timeout, Duration deadline) {
  if (session.is_open()) return;
  const Budget budget(deadline);
  session.open(deadline);
  try {
    session.script(session_settings(observer_timeout, session.server_version()), budget.left());
  } catch (const Error&) {
    session.close();
    throw;
  }
}

std::string session_settings(const std::optional<Duration>& observer_timeout, int version) {
  const auto millis =
      std::chrono::duration_cast<std::chrono::milliseconds>(observer_timeout.value_or(Duration{})).count();
  // The message is one transaction, which has begun with the defaults that it replaces. And ALTER DATABASE … SET role
  // would have it run as somebody else.
  std::string script =
      "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; SET ROLE NONE; SET standard_conforming_strings = on; ";
  for (const SessionSetting& row : session_settings_table) {
    const char* const value = observer_timeout ? row.watching : row.acting;
    if (value == nullptr || version < row.since) continue;
    script += fmt::format("SET {} = ", row.name);
    script += fmt::format(fmt::runtime(value), fmt::arg("timeout", millis),
                          fmt::arg("lock", std::max<std::int64_t>(1, millis / 20)));
    script += "; ";
  }
  // Names come as UTF-8 whatever the database's encoding is. From one without an encoding (SQL_ASCII) they come as they
  // are: asked for UTF-8, the server refuses every row with a name that is none.
  script +=
      "SELECT set_config('client_encoding', "
      "CASE getdatabaseencoding() WHEN 'SQL_ASCII' THEN 'SQL_ASCII' ELSE 'UTF8' END, false); ";
  // Where the login got default_transaction_read_only from, unless from the server: that one is hidden for as long as
  // the session lives. Asked before it is set here.
  script +=
      "SELECT set_config('pgrm.read_only_by', (SELECT CASE source WHEN 'user' THEN format('role %I', session_user) "
      "WHEN 'database' THEN format('database %I', current_database()) "
      "WHEN 'database user' THEN format('role %I in database %I', session_user, current_database()) "
      "WHEN 'client' THEN 'the connection string' ELSE '' END "
      "FROM pg_settings WHERE name = 'default_transaction_read_only'), false)";
  return observer_timeout ? script + "; SET default_transaction_read_only = on" : script;
}

}  // namespace pgrm
