#include "core/pg/log_in.h"

#include <libpq-fe.h>
#include <poll.h>

#include <chrono>
#include <string_view>

#include "core/base/error.h"

namespace pgrm {
namespace {

/// The SQLSTATE in "FATAL:  55000", empty when the text is none of the server's.
std::string_view sqlstate_in(std::string_view message) {
  while (!message.empty() && (message.back() == '\n' || message.back() == ' ')) message.remove_suffix(1);
  if (message.size() < 7 || message[message.size() - 6] != ' ') return {};
  const std::string_view last = message.substr(message.size() - 5);
  return last.find_first_not_of("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == std::string_view::npos ? last
                                                                                                  : std::string_view();
}

}  // namespace

void wait_for(PGconn* connection, short event, const std::string& server, Mono end) {
  pollfd socket{PQsocket(connection), event, 0};
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - system_clock().now()).count();
  if (left <= 0 || poll(&socket, 1, static_cast<int>(left)) == 0) {
    throw Error(ErrorCode::timeout, "no answer in time from " + server);
  }
}

std::string log_in(PGconn* connection, const std::string& server, Mono end) {
  PQsetErrorVerbosity(connection, PQERRORS_SQLSTATE);
  PQsetNoticeProcessor(
      connection, [](void*, const char*) {}, nullptr);  // libpq would print them
  for (PostgresPollingStatusType state = PGRES_POLLING_WRITING; state != PGRES_POLLING_OK;) {
    if (state == PGRES_POLLING_FAILED) {
      const std::string_view sqlstate = sqlstate_in(PQerrorMessage(connection));
      if (sqlstate.empty()) throw Error(ErrorCode::unreachable, "cannot connect to " + server);
      return std::string(sqlstate);
    }
    wait_for(connection, state == PGRES_POLLING_READING ? POLLIN : POLLOUT, server, end);
    state = PQconnectPoll(connection);
  }
  return {};
}

}  // namespace pgrm
