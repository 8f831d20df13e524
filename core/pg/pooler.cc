#include "core/pg/pooler.h"

#include <fmt/format.h>
#include <libpq-fe.h>
#include <poll.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "core/base/error.h"

namespace pgrm {
namespace {

// libpq itself: the console speaks only the simple protocol, and libpqxx refuses a server whose version is 1.x.
using Connection = std::unique_ptr<PGconn, decltype(&PQfinish)>;
using Result = std::unique_ptr<PGresult, decltype(&PQclear)>;

std::string trimmed(const char* message) {
  std::string text = message == nullptr ? "" : message;
  std::ranges::replace(text, '\n', ' ');
  text.erase(text.find_last_not_of(' ') + 1);
  return text;
}

/// A column that this version of PgBouncer may not have.
std::string cell(const PGresult* rows, int row, const char* column) {
  const int index = PQfnumber(rows, column);
  return index < 0 ? "" : PQgetvalue(rows, row, index);
}

/// A database's name as the console's own quoting wants it.
std::string quoted(const std::string& name) {
  std::string text = "\"";
  for (const char c : name) {
    if (c == '"') text += c;
    text += c;
  }
  return text + '"';
}

class Console final : public Pooler {
 public:
  explicit Console(Conninfo server) : server_(std::move(server)) {}

  std::string describe() const override { return server_.describe(); }

  std::vector<PoolerDatabase> databases(Duration deadline) override {
    const Result rows = ask("SHOW DATABASES", deadline);
    std::vector<PoolerDatabase> databases;
    for (int row = 0; row < PQntuples(rows.get()); ++row) {
      PoolerDatabase database{cell(rows.get(), row, "name"), cell(rows.get(), row, "host"),
                              cell(rows.get(), row, "port"), cell(rows.get(), row, "pool_mode"),
                              cell(rows.get(), row, "paused") == "1"};
      if (database.name != "pgbouncer") databases.push_back(std::move(database));
    }
    return databases;
  }

  std::string setting(std::string_view name, Duration deadline) override {
    const Result rows = ask("SHOW CONFIG", deadline);
    for (int row = 0; row < PQntuples(rows.get()); ++row) {
      if (cell(rows.get(), row, "key") == name) return cell(rows.get(), row, "value");
    }
    return "";
  }

  std::string session_user(Duration deadline) override {
    const Result rows = ask("SHOW USERS", deadline);
    for (int row = 0; row < PQntuples(rows.get()); ++row) {
      if (cell(rows.get(), row, "pool_mode") == "session") return cell(rows.get(), row, "name");
    }
    return "";
  }

  std::vector<std::string> peers(Duration deadline) override {
    try {
      const Result rows = ask("SHOW PEERS", deadline);
      std::vector<std::string> ids;
      for (int row = 0; row < PQntuples(rows.get()); ++row) ids.push_back(cell(rows.get(), row, "peer_id"));
      return ids;
    } catch (const Error& error) {
      if (error.code() != ErrorCode::query_failed) throw;
      return {};  // before 1.19
    }
  }

  std::vector<int> backends(const std::string& database, Duration deadline) override {
    const Result rows = ask("SHOW SERVERS", deadline);
    std::vector<int> pids;
    for (int row = 0; row < PQntuples(rows.get()); ++row) {
      if (cell(rows.get(), row, "database") != database) continue;
      pids.push_back(std::atoi(cell(rows.get(), row, "remote_pid").c_str()));
    }
    return pids;
  }

  bool paused(Duration deadline) override {
    try {
      const Result rows = ask("SHOW STATE", deadline);  // 1.18
      for (int row = 0; row < PQntuples(rows.get()); ++row) {
        const std::string key = cell(rows.get(), row, "key");
        if ((key == "paused" || key == "suspended") && cell(rows.get(), row, "value") == "yes") return true;
      }
      return false;
    } catch (const Error& error) {
      if (error.code() != ErrorCode::query_failed) throw;
      return false;  // older: not known, and PAUSE will say
    }
  }

  bool is_admin(Duration deadline) override {
    // An order that does nothing: stats_users may see everything, the configuration too, and order nothing.
    try {
      ask("RESUME " + quoted("no database has this name"), deadline);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::permission_denied) return false;
      if (error.code() != ErrorCode::query_failed) throw;
    }
    return true;
  }

  void pause(const std::string& database, Duration deadline) override { ask("PAUSE " + quoted(database), deadline); }

  void resume(const std::string& database, Duration deadline) override {
    const auto rows = databases(deadline);
    const auto found = std::ranges::find(rows, database, &PoolerDatabase::name);
    if (found != rows.end() && found->paused) ask("RESUME " + quoted(database), deadline);
  }

  void reload(Duration deadline) override { ask("RELOAD", deadline); }

 private:
  void open(Duration deadline) {
    if (connection_) return;
    const auto seconds = std::max<long>(2, static_cast<long>(to_seconds(deadline) + 0.999));
    const Secret text = server_.with("connect_timeout", std::to_string(seconds)).text();
    connection_.reset(PQconnectdb(text.reveal().c_str()));
    if (PQstatus(connection_.get()) == CONNECTION_OK) {
      // Later logins look up no name, which would have no deadline. Empty: a Unix socket.
      if (const char* const address = PQhostaddr(connection_.get()); address != nullptr && *address != '\0') {
        if (!by_name_) by_name_ = server_;
        server_ = server_.with("hostaddr", address);
      }
      return;
    }
    if (by_name_) server_ = *std::exchange(by_name_, std::nullopt);  // it may have another address by now
    const std::string message = trimmed(PQerrorMessage(connection_.get()));
    connection_.reset();
    const bool refused = message.find("authentication") != std::string::npos ||
                         message.find("password") != std::string::npos ||
                         message.find("not allowed") != std::string::npos;
    throw Error(refused ? ErrorCode::authentication : ErrorCode::unreachable,
                fmt::format("cannot connect to {}: {}", describe(), message));
  }

  Result ask(const std::string& command, Duration deadline) {
    open(deadline);
    const Mono end = system_clock().now() + deadline;
    if (PQsendQuery(connection_.get(), command.c_str()) == 0) lost(command);
    while (PQisBusy(connection_.get()) != 0) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - system_clock().now()).count();
      pollfd socket{PQsocket(connection_.get()), POLLIN, 0};
      if (left <= 0 || poll(&socket, 1, static_cast<int>(left)) == 0) {
        connection_.reset();
        throw Error(ErrorCode::timeout,
                    fmt::format("{} did not finish {} within {}", describe(), command, human(deadline)));
      }
      if (PQconsumeInput(connection_.get()) == 0) lost(command);
    }
    Result result(PQgetResult(connection_.get()), &PQclear);
    while (Result more{PQgetResult(connection_.get()), &PQclear}) {
    }
    const ExecStatusType status = PQresultStatus(result.get());
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) return result;
    const std::string message = trimmed(PQresultErrorMessage(result.get()));
    if (PQstatus(connection_.get()) != CONNECTION_OK) lost(command);
    const bool denied = message.find("admin access needed") != std::string::npos;
    throw Error(denied ? ErrorCode::permission_denied : ErrorCode::query_failed,
                fmt::format("{} refused {}: {}", describe(), command, message));
  }

  [[noreturn]] void lost(const std::string& command) {
    const std::string message = trimmed(PQerrorMessage(connection_.get()));
    connection_.reset();
    throw Error(ErrorCode::connection_lost, fmt::format("lost {} during {}: {}", describe(), command, message));
  }

  Conninfo server_;
  std::optional<Conninfo> by_name_;  // as it was before an address was kept
  Connection connection_{nullptr, &PQfinish};
};

}  // namespace

std::unique_ptr<Pooler> make_pooler(const Conninfo& console) { return std::make_unique<Console>(console); }

}  // namespace pgrm
