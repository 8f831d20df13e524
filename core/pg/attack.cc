#include "core/pg/attack.h"

#include <fmt/format.h>
#include <libpq-fe.h>
#include <poll.h>

#include <memory>
#include <string_view>

#include "core/base/error.h"
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
  std::string options = server.get("options") + " -c search_path=pg_catalog,pg_temp";
  if (how.overrides_read_only) options += " -c default_transaction_read_only=off";
  if (!how.role.empty()) options += " -c role=" + option_word(how.role);
  return options;
}

/// Waits until the socket can be read (or written); throws Error(timeout) at `end`.
void wait_for(PGconn* connection, short event, Mono end) {
  pollfd socket{PQsocket(connection), event, 0};
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - system_clock().now()).count();
  if (left <= 0 || poll(&socket, 1, static_cast<int>(left)) == 0) {
    throw Error(ErrorCode::timeout, "no answer to a write that was tried as a client would");
  }
}

WriteProbe refused(std::string_view sqlstate) {
  return {.accepted = false,
          .read_only = sqlstate == read_only_transaction,
          .shut_out = sqlstate == does_not_accept_connections,
          .refusal = fmt::format("SQLSTATE {}", sqlstate)};
}

/// The SQLSTATE in "FATAL:  55000", empty when the text is none of the server's.
std::string_view sqlstate_in(std::string_view message) {
  while (!message.empty() && (message.back() == '\n' || message.back() == ' ')) message.remove_suffix(1);
  if (message.size() < 7 || message[message.size() - 6] != ' ') return {};
  const std::string_view last = message.substr(message.size() - 5);
  return last.find_first_not_of("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == std::string_view::npos ? last
                                                                                                  : std::string_view();
}

/// nullopt: logged in.
std::optional<WriteProbe> log_in(PGconn* connection, const std::string& whom, Mono end) {
  PQsetErrorVerbosity(connection, PQERRORS_SQLSTATE);
  PQsetNoticeProcessor(
      connection, [](void*, const char*) {}, nullptr);  // libpq would print them
  for (PostgresPollingStatusType state = PGRES_POLLING_WRITING; state != PGRES_POLLING_OK;) {
    if (state == PGRES_POLLING_FAILED) {
      const std::string_view sqlstate = sqlstate_in(PQerrorMessage(connection));
      if (sqlstate.empty()) throw Error(ErrorCode::unreachable, "cannot connect to " + whom);
      return refused(sqlstate);
    }
    wait_for(connection, state == PGRES_POLLING_READING ? POLLIN : POLLOUT, end);
    state = PQconnectPoll(connection);
  }
  return std::nullopt;
}

/// Runs `sql` and returns its last result's error; nullopt: it went through, and `value` has its last value.
std::optional<WriteProbe> run(PGconn* connection, const std::string& sql, const std::string& whom, Mono end,
                              std::string& value) {
  if (PQsendQuery(connection, sql.c_str()) == 0)
    throw Error(ErrorCode::connection_lost, "lost the connection to " + whom);
  std::optional<WriteProbe> refusal;
  for (;;) {
    while (PQisBusy(connection) != 0) {
      wait_for(connection, POLLIN, end);
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
  if (auto refusal = log_in(connection.get(), server.describe(), end)) return *refusal;
  std::string read_only;
  for (const std::string& order : orders::attack(how)) {
    if (auto refusal = run(connection.get(), order, server.describe(), end, read_only)) return *refusal;
  }
  if (read_only == "on") return refused(read_only_transaction);
  return {.accepted = true, .read_only = false, .shut_out = false, .refusal = {}};  // closing rolls back
}

}  // namespace pgrm
