#include "core/pg/session.h"

#include <fmt/format.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <pqxx/pqxx>
#if PQXX_VERSION_MAJOR < 7
#include <pqxx/tablewriter>
#endif
#include <set>
#include <stdexcept>
#include <utility>

#include "core/base/socket_watchdog.h"

namespace pgrm {
namespace {

/// The server's message without "ERROR:", position marks and the rest after the first line.
std::string first_line(std::string_view message) {
  for (const std::string_view prefix : {"ERROR:", "FATAL:"}) {
    if (const auto at = message.find(prefix); at != std::string_view::npos) message.remove_prefix(at + prefix.size());
  }
  message = message.substr(0, message.find('\n'));
  const auto begin = message.find_first_not_of(' ');
  return begin == std::string_view::npos ? "no message from the server" : std::string(message.substr(begin));
}

/// libpqxx 6 has classes without a code for what the server rolled back; later ones are sql_errors and have it.
std::string_view sqlstate_of(const pqxx::failure& failure) {
  if (dynamic_cast<const pqxx::deadlock_detected*>(&failure) != nullptr) return "40P01";
  if (dynamic_cast<const pqxx::serialization_failure*>(&failure) != nullptr) return "40001";
  if (dynamic_cast<const pqxx::statement_completion_unknown*>(&failure) != nullptr) return "40003";
  if (dynamic_cast<const pqxx::transaction_rollback*>(&failure) != nullptr) return "40000";
  return {};
}

/// libpqxx has a class for 42501, and forgets the code in it.
std::string sqlstate_of(const pqxx::sql_error& refusal) {
  if (dynamic_cast<const pqxx::insufficient_privilege*>(&refusal) != nullptr) return "42501";
  return refusal.sqlstate();
}

ErrorCode code_of(const std::string& sqlstate) {
  struct Row {
    std::string_view sqlstate;
    ErrorCode code;
  };
  static constexpr std::array table{
      Row{"25006", ErrorCode::read_only}, Row{"42501", ErrorCode::permission_denied},
      Row{"57014", ErrorCode::timeout},  // statement_timeout
      Row{"55P03", ErrorCode::timeout},  // lock_timeout
  };
  const auto* const row = std::ranges::find(table, sqlstate, &Row::sqlstate);
  return row == table.end() ? ErrorCode::query_failed : row->code;
}

Rows detach(const pqxx::result& result) {
  std::vector<std::string> columns;
  for (pqxx::row_size_type column = 0; column < result.columns(); ++column)
    columns.emplace_back(result.column_name(column));
  std::vector<Value> cells;
  cells.reserve(static_cast<std::size_t>(result.size()) * columns.size());
  for (const auto& row : result) {
    for (const auto& field : row) {
      cells.push_back(field.is_null() ? Value() : Value(std::in_place, field.c_str(), field.size()));
    }
  }
  return {std::move(columns), std::move(cells), static_cast<std::int64_t>(result.affected_rows())};
}

/// By its name when it was prepared, else by its text.
#if PQXX_VERSION_MAJOR >= 7
pqxx::result run(pqxx::nontransaction& transaction, const Statement& statement, const Params& params, bool prepared) {
  pqxx::params values;
  values.reserve(params.size());
  for (const Value& value : params) values.append(value);
  return prepared ? transaction.exec_prepared(statement.name, values) : transaction.exec_params(statement.sql, values);
}
#else
pqxx::result run(pqxx::nontransaction& transaction, const Statement& statement, const Params& params, bool prepared) {
  std::vector<const char*> texts;
  texts.reserve(params.size());
  for (const Value& value : params) texts.push_back(value ? value->c_str() : nullptr);
  const auto values = pqxx::prepare::make_dynamic_params(texts);
  return prepared ? transaction.exec_prepared(statement.name, values) : transaction.exec_params(statement.sql, values);
}
#endif

#if PQXX_VERSION_MAJOR >= 7
void copy_rows(pqxx::nontransaction& transaction, const std::string& table, const std::vector<std::string>& columns,
               const std::function<void(const PutRow&)>& rows) {
  // Not stream_to::table(): it takes a vector only in a libpqxx that was itself built as C++20 with concepts.
  auto& connection = transaction.conn();
  auto stream =
      pqxx::stream_to::raw_table(transaction, connection.quote_name(table), connection.quote_columns(columns));
  rows([&stream](std::initializer_list<std::string_view> row) { stream.write_row(row); });
  stream.complete();
}
#else
/// How COPY's text format writes it behind a backslash (PostgreSQL, COPY, "File Formats"); 0: as it is.
char escaped(char c) {
  switch (c) {
    case '\\':
      return '\\';
    case '\t':
      return 't';
    case '\n':
      return 'n';
    case '\r':
      return 'r';
    default:
      return '\0';
  }
}

void append_copy_line(std::string& text, std::initializer_list<std::string_view> row) {
  for (const std::string_view field : row) {
    if (std::ranges::all_of(field, [](char c) { return escaped(c) == '\0'; })) {
      text += field;  // nearly always, and many times faster than one by one
    } else {
      for (const char c : field) {
        const char letter = escaped(c);
        if (letter != '\0') text += '\\';
        text += letter != '\0' ? letter : c;
      }
    }
    text += '\t';
  }
  text.back() = '\n';
}

// libpqxx 6 sends a message for each line that it is given; many lines that are handed over as one cost a fraction.
void copy_rows(pqxx::nontransaction& transaction, const std::string& table, const std::vector<std::string>& columns,
               const std::function<void(const PutRow&)>& rows) {
  constexpr std::size_t enough = 8192;
  std::vector<std::string> quoted;
  for (const std::string& column : columns) quoted.push_back(transaction.conn().quote_name(column));
  pqxx::tablewriter writer(transaction, transaction.conn().quote_name(table), quoted.begin(), quoted.end());
  std::string lines;
  const auto send = [&] {
    if (lines.empty()) return;
    writer.write_raw_line(lines);  // with or without the last end of line
    lines.clear();
  };
  rows([&](std::initializer_list<std::string_view> row) {
    append_copy_line(lines, row);
    if (lines.size() >= enough) send();
  });
  send();
  writer.complete();
}
#endif

/// The server's last word in a session (PostgreSQL, appendix A): shutdown, crash, the session's own limits of time.
/// COPY is answered with it while the connection looks open still. Without a code it is libpq's own, which could not
/// read the answer (out of memory, for one): what the server did is not known, and the rest of the answer may still
/// come.
bool is_goodbye(const std::string& sqlstate) {
  static constexpr std::array<std::string_view, 6> last_words{"57P01", "57P02", "57P04", "57P05", "25P03", "25P04"};
  return sqlstate.empty() || std::ranges::find(last_words, sqlstate) != last_words.end();
}

/// The server has never heard of the prepared statement, or has already. A pooler that gives every transaction another
/// server connection (PgBouncer before 1.21) makes both happen; nothing was carried out.
bool is_lost_statement(const SqlError& refusal) {
  return refusal.sqlstate() == "26000" || refusal.sqlstate() == "42P05";
}

template <typename Number>
std::optional<Number> parse_number(const Value& text, std::string_view column) {
  if (!text) return std::nullopt;
  Number number{};
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), number);
  if (error != std::errc{} || end != text->data() + text->size()) {
    throw Error(ErrorCode::internal, fmt::format("column {} is \"{}\", expected a number", column, *text));
  }
  return number;
}

}  // namespace

// ---- Rows

const Value& Rows::Row::text(std::string_view column) const {
  const auto found = std::ranges::find(rows_.columns_, column);
  if (found == rows_.columns_.end()) throw Error(ErrorCode::internal, fmt::format("no column {}", column));
  return rows_.cells_.at(index_ * rows_.columns_.size() + static_cast<std::size_t>(found - rows_.columns_.begin()));
}

std::optional<std::int64_t> Rows::Row::integer(std::string_view column) const {
  return parse_number<std::int64_t>(text(column), column);
}

std::optional<double> Rows::Row::real(std::string_view column) const {
  return parse_number<double>(text(column), column);
}

std::optional<bool> Rows::Row::boolean(std::string_view column) const {
  const Value& value = text(column);
  if (!value) return std::nullopt;
  return *value == "t";
}

std::optional<Lsn> Rows::Row::lsn(std::string_view column) const {
  const Value& value = text(column);
  if (!value) return std::nullopt;
  return Lsn::parse(*value);
}

std::optional<WallTime> Rows::Row::time(std::string_view column) const {
  const auto seconds = real(column);
  if (!seconds) return std::nullopt;
  return from_unix(*seconds);
}

Rows::Row Rows::one() const {
  if (size() != 1) throw Error(ErrorCode::query_failed, fmt::format("got {} rows, expected one", size()));
  return (*this)[0];
}

// ---- Session

struct Session::State {
  State(Conninfo info, OnStatement to_tell) : server(std::move(info)), told(std::move(to_tell)) {}

  Conninfo server;
  std::optional<Conninfo> by_name;  // as it was before an address was kept
  OnStatement told;
  SocketWatchdog watchdog;
  std::optional<pqxx::connection> connection;
  std::optional<pqxx::quiet_errorhandler> quiet;  // without it, libpqxx prints the server's notices to standard error
  std::set<std::string, std::less<>> prepared;
  bool prepares = true;  // until a prepared statement is lost

  /// Runs `work` on the open connection under the deadline and turns what libpqxx throws into ours.
  template <typename Work>
  Rows guarded(Duration deadline, Work&& work) {
    if (!connection) throw Error(ErrorCode::unreachable, fmt::format("no connection to {}", server.describe()));
    const SocketWatchdog::Guard guard(watchdog, deadline);
    try {
      pqxx::nontransaction transaction(*connection);
      return detach(work(transaction));
    } catch (const pqxx::sql_error& refusal) {
      const std::string sqlstate = sqlstate_of(refusal);
      lost_or_late(deadline, refusal.what(), is_goodbye(sqlstate));
      refuse(refusal.what(), sqlstate);
    } catch (const pqxx::failure& failure) {
      lost_or_late(deadline, failure.what());
      if (const auto sqlstate = sqlstate_of(failure); !sqlstate.empty()) refuse(failure.what(), std::string(sqlstate));
      throw Error(ErrorCode::query_failed, first_line(failure.what()));
    }
  }

  void prepare(const Statement& statement) {
    if (!prepares || prepared.contains(statement.name)) return;
    connection->prepare(statement.name, statement.sql);
#if PQXX_VERSION_MAJOR < 7
    connection->prepare_now(statement.name);  // libpqxx 6 waits for the first use otherwise
#endif
    prepared.insert(statement.name);  // only now: a statement that could not be prepared is tried again
  }

  [[noreturn]] static void refuse(std::string_view message, const std::string& sqlstate) {
    const bool blocked = sqlstate == "55P03";  // lock_not_available
    throw SqlError(
        code_of(sqlstate), fmt::format("{} (SQLSTATE {})", first_line(message), sqlstate), sqlstate,
        blocked ? "another session holds a lock: select pid, pg_blocking_pids(pid), query from pg_stat_activity" : "");
  }

  /// Throws when the connection is gone; otherwise returns.
  void lost_or_late(Duration deadline, std::string_view message, bool goodbye = false) {
    const bool late = watchdog.bit();
    if (!late && !goodbye && connection->is_open()) return;
    drop();
    if (late) {
      throw Error(ErrorCode::timeout, fmt::format("no answer from {} within {}", server.describe(), human(deadline)));
    }
    // libpqxx 6 asks a dead connection for its encoding, and reports how that went.
    const bool says_nothing = message.find("client encoding") != std::string_view::npos;
    throw Error(ErrorCode::connection_lost,
                fmt::format("lost the connection to {}: {}", server.describe(),
                            says_nothing ? "the server has closed it" : first_line(message)));
  }

  /// The server may have another address by now: the next login looks the name up.
  void give_up_address() {
    if (by_name) server = *std::exchange(by_name, std::nullopt);
  }

  void drop() noexcept {
    quiet.reset();
    connection.reset();
    watchdog.forget();
    prepared.clear();
  }
};

Session::Session(Conninfo server, const std::string& application_name, OnStatement told)
    : state_(std::make_unique<State>(server.with("application_name", application_name), std::move(told))) {}
Session::~Session() = default;
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;

/// libpq's lower bound.
static constexpr std::chrono::seconds shortest_connect_timeout{2};

/// Whether nobody answers there for as long as that. A server that refuses at once is asked why by the caller.
static bool hangs(const Conninfo& server, Duration deadline) {
  const Mono end = system_clock().now() + deadline;
  return ping(server, deadline) == Ping::silent && system_clock().now() >= end;
}

void Session::open(Duration deadline) {
  if (state_->connection) return;
  const auto seconds =
      std::max<long>(shortest_connect_timeout.count(), static_cast<long>(to_seconds(deadline) + 0.999));
  if (deadline < shortest_connect_timeout && hangs(state_->server, deadline)) {
    state_->give_up_address();
    throw Error(ErrorCode::unreachable,
                fmt::format("cannot connect to {}: no answer within {}", state_->server.describe(), human(deadline)));
  }
  try {
    state_->connection.emplace(state_->server.with("connect_timeout", std::to_string(seconds)).text().reveal());
    state_->quiet.emplace(*state_->connection);
    if (!state_->watchdog.watch(state_->connection->sock())) throw std::runtime_error("no descriptor is left");
#if PQXX_VERSION_MAJOR < 7
    state_->connection->inhibit_reactivation(true);  // libpqxx 6 reconnects silently: a lost session must be seen
#endif
  } catch (const std::exception& failure) {
    state_->drop();
    constexpr Duration glance = std::chrono::milliseconds(250);
    if (state_->by_name && ping(state_->server, std::min<Duration>(deadline, glance)) == Ping::silent) {
      state_->give_up_address();
    }
    const std::string message = first_line(failure.what());
    const auto says = [&message](const char* part) { return message.find(part) != std::string::npos; };
    // A name may have any of these words in it: a closed database called "authentication" is closed and nothing else.
    const bool shut = says("is not currently accepting connections");
    const bool refused = !shut && (says("authentication") || says("pg_hba.conf") || says("no password supplied") ||
                                   (says("role \"") && says("does not exist")));
    throw Error(refused ? ErrorCode::authentication : ErrorCode::unreachable,
                fmt::format("cannot connect to {}: {}", state_->server.describe(), message));
  }
}

void Session::keep_address() {
  sockaddr_storage peer{};
  socklen_t size = sizeof peer;
  auto* const address = reinterpret_cast<sockaddr*>(&peer);
  std::array<char, NI_MAXHOST> text{};
  if (getpeername(state_->connection.value().sock(), address, &size) != 0 || peer.ss_family == AF_UNIX) return;
  if (getnameinfo(address, size, text.data(), text.size(), nullptr, 0, NI_NUMERICHOST) != 0) return;
  if (!state_->by_name) state_->by_name = state_->server;
  state_->server = state_->server.with("hostaddr", text.data());
}

void Session::close() noexcept { state_->drop(); }
bool Session::is_open() const noexcept { return state_->connection.has_value(); }

bool Session::closed_by_server() const {
  // An idle session that has something to read was told goodbye: FATAL, then the end of the stream.
  pollfd socket{state_->connection.value().sock(), POLLIN | POLLRDHUP, 0};
  return poll(&socket, 1, 0) > 0;
}

Rows Session::execute(const Statement& statement, const Params& params, Duration deadline) {
  if (state_->told) state_->told(statement.sql);
  const auto work = [&](pqxx::nontransaction& transaction) {
    state_->prepare(statement);
    return run(transaction, statement, params, state_->prepares);
  };
  try {
    return state_->guarded(deadline, work);
  } catch (const SqlError& refusal) {
    if (!state_->prepares || !is_lost_statement(refusal)) throw;
    state_->prepares = false;
    return state_->guarded(deadline, work);
  }
}

void Session::prepare(const Statement& statement, Duration deadline) {
  state_->guarded(deadline, [&](pqxx::nontransaction&) {
    state_->prepare(statement);
    return pqxx::result();
  });
}

Rows Session::script(const std::string& sql, Duration deadline) {
  if (state_->told) state_->told(sql);
  return state_->guarded(deadline, [&](pqxx::nontransaction& transaction) { return transaction.exec(sql); });
}

void Session::copy(const std::string& table, const std::vector<std::string>& columns, Duration deadline,
                   const std::function<void(const PutRow&)>& rows) {
  state_->guarded(deadline, [&](pqxx::nontransaction& transaction) {
    copy_rows(transaction, table, columns, rows);
    return pqxx::result();
  });
}

int Session::backend_pid() const { return state_->connection.value().backendpid(); }
int Session::server_version() const { return state_->connection.value().server_version(); }
std::string Session::quote_identifier(const std::string& name) const {
  return state_->connection.value().quote_name(name);
}
std::string Session::quote_literal(const std::string& text) const { return state_->connection.value().quote(text); }
const Conninfo& Session::conninfo() const { return state_->server; }
const std::optional<Conninfo>& Session::by_name() const { return state_->by_name; }

}  // namespace pgrm
