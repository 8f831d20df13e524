#include "core/pg/attack.h"

#include <fmt/format.h>
#include <libpq-fe.h>
#include <poll.h>

#include <memory>
#include <string_view>

#include "core/base/error.h"
#include "core/pg/log_in.h"
#include "core/pg/orders.h"

namespace pgrm {
namespace {

using Connection = std::unique_ptr<PGconn, decltype(&PQfinish)>;
using Result = std::unique_ptr<PGresult, decltype(&PQclear)>;

constexpr std::string_view does_not_accept_connections = "55000";
constexpr std::string_view read_only_transaction = "25006";

/// `value` as one word of libpq's `options` (backslash before space and backslash).
std::string option_word(std::string_view value) {
  std::string word;
  for (const char c : value) {
    if (c == ' ' || c == '\\') word += '\\';
    word += c;
  }
  return word;
}

std::string login_options(const Conninfo& server, const Attack& how) {
  // What the role, its database or the server sets must not end the attack sooner than the fence does; a standby knows
  // no serializable transactions.
  std::string options = server.get("options") +
                        " -c search_path=pg_catalog,pg_temp -c statement_timeout=0"
                        " -c default_transaction_isolation=read\\ committed -c default_transaction_deferrable=off";
  if (how.overrides_read_only) options += " -c default_transaction_read_only=off";
  if (!how.role.empty()) options += " -c role=" + option_word(how.role);
  return options;
}

WriteProbe refused(std::string_view sqlstate) {
  return {.accepted = false,
          .read_only = sqlstate == read_only_transaction,
          .shut_out = sqlstate == does_not_accept_connections,
          .refusal = fmt::format("SQLSTATE {}", sqlstate)};
}

/// Runs `sql` and returns its last result's error; nullopt: it went through, and `value` has its last value.
std::optional<WriteProbe> run(PGconn* connection, const std::string& sql, const std::string& whom, Mono end,
                              std::string& value) {
  if (PQsendQuery(connection, sql.c_str()) == 0)
    throw Error(ErrorCode::connection_lost, "lost the connection to " + whom);
  std::optional<WriteProbe> refusal;
  for (;;) {
    while (PQisBusy(connection) != 0) {
      wait_for(connection, POLLIN, whom, end);
      if (PQconsumeInput(connection) == 0) {
        throw Error(ErrorCode::connection_lost, "lost the connection to " + whom);
      }
    }
    const Result result(PQgetResult(connection), &PQclear);
    if (!result) return refusal;
    if (PQresultStatus(result.get()) == PGRES_TUPLES_OK) value = PQgetvalue(result.get(), 0, 0);
    if (PQresultStatus(result.get()) != PGRES_FATAL_ERROR) continue;
    const char* const sqlstate = PQresultErrorField(result.get(), PG_DIAG_SQLSTATE);
    if (sqlstate == nullptr) throw Error(ErrorCode::connection_lost, "lost the connection to " + whom);
    refusal = refused(sqlstate);
  }
}

}  // namespace

WriteProbe attack_server(const Conninfo& server, const std::string& application_name, const Attack& how,
                         Duration deadline) {
  const Mono end = system_clock().now() + deadline;
  const Conninfo client = server.with("application_name", application_name).with("options", login_options(server, how));
  const Connection connection(PQconnectStart(client.text().reveal().c_str()), &PQfinish);
  if (!connection || PQstatus(connection.get()) == CONNECTION_BAD) {
    throw Error(ErrorCode::unreachable, "cannot connect to " + server.describe());
  }
  if (const std::string sqlstate = log_in(connection.get(), server.describe(), end); !sqlstate.empty())
    return refused(sqlstate);
  std::string read_only;
  for (const std::string& order : orders::attack(how)) {
    if (auto refusal = run(connection.get(), order, server.describe(), end, read_only)) return *refusal;
  }
  if (read_only == "on") return refused(read_only_transaction);
  return {.accepted = true, .read_only = false, .shut_out = false, .refusal = {}};  // closing rolls back
}

}  // namespace pgrm
