#include "core/pg/conninfo.h"

#include <fmt/format.h>
#include <libpq-fe.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/pg/log_in.h"

namespace pgrm {
namespace {

using Connection = std::unique_ptr<PGconn, decltype(&PQfinish)>;

std::string quoted_value(std::string_view value) {
  std::string text = "'";
  for (const char c : value) {
    if (c == '\'' || c == '\\') text += '\\';
    text += c;
  }
  return text + "'";
}

/// Environment variables of libpq for as long as it lives. REQUIRES: one thread.
class Environment {
 public:
  Environment(std::initializer_list<std::pair<std::string, std::string>> values) {
    for (const auto& [name, value] : values) {
      const char* const was = std::getenv(name.c_str());
      before_.emplace_back(name, was == nullptr ? std::nullopt : std::optional<std::string>(was));
      setenv(name.c_str(), value.c_str(), 1);
    }
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;
  ~Environment() {
    for (const auto& [name, value] : before_) {
      if (value) {
        setenv(name.c_str(), value->c_str(), 1);
      } else {
        unsetenv(name.c_str());
      }
    }
  }

 private:
  std::vector<std::pair<std::string, std::optional<std::string>>> before_;
};

/// What libpq would add to a connection by itself.
std::map<std::string, std::string> defaults_of_libpq(const std::string& service) {
  // What stands for "not given" where the environment or the system has a default.
  const Environment environment{{"PGSERVICE", service}, {"PGUSER", "?"}, {"PGDATABASE", "?"}};
  const std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> options(PQconndefaults(), &PQconninfoFree);
  std::map<std::string, std::string> values;
  for (const PQconninfoOption* option = options.get(); option != nullptr && option->keyword != nullptr; ++option) {
    if (option->val != nullptr) values[option->keyword] = option->val;
  }
  values.erase("service");
  return values;
}

/// With what the service file says in place of its name: what is checked and shown must be what libpq uses.
Conninfo expand_service(Conninfo server, const std::string& variable) {
  const std::string service = server.get("service");
  if (service.empty()) return server;
  server = server.without("service");
  const auto plain = defaults_of_libpq(""), with_service = defaults_of_libpq(service);
  if (plain == with_service) {  // of one that is not there, libpq says nothing here
    throw Error(ErrorCode::configuration,
                fmt::format("{} names the service {}, of which no service file says anything", variable, service),
                "PGSERVICEFILE names the file, otherwise it is ~/.pg_service.conf");
  }
  for (const auto& [keyword, value] : with_service) {
    const auto otherwise = plain.find(keyword);
    const bool own = otherwise == plain.end() || otherwise->second != value;
    if (own && server.get(keyword).empty()) server = server.with(keyword, value);
  }
  return server;
}

Conninfo server_from(const Settings& settings, const std::string& side) {
  Conninfo server = Conninfo::parse("");
  const std::string dsn_variable = side + "_DSN";
  if (const auto dsn = settings.optional_text(dsn_variable)) {
    server = Conninfo::parse(*dsn);
    if (settings.given_as_flag(dsn_variable) && server.has_password()) {
      throw Error(
          ErrorCode::usage,
          fmt::format("a password in {} on the command line is refused: every user of this machine could read it",
                      setting(dsn_variable).flag),
          fmt::format("set {} or POSTGRES_PASSWORD_FILE in the environment, or use ~/.pgpass", dsn_variable));
    }
    if (settings.given_by_pair(dsn_variable) && server.has_password()) {
      throw Error(ErrorCode::configuration,
                  fmt::format("a password in {} of the pair {} is refused: the pairs file holds no secrets",
                              setting(dsn_variable).flag.substr(2), settings.pair_name()),
                  "name a file with postgres-password-file, or use ~/.pgpass");
    }
    // To expand one changes the environment of a process that may have many threads by now.
    if (settings.given_by_pair(dsn_variable) && !server.get("service").empty()) {
      throw Error(
          ErrorCode::configuration,
          fmt::format("{} of the pair {} names a service", setting(dsn_variable).flag.substr(2), settings.pair_name()),
          "write its host and port");
    }
    server = expand_service(server, dsn_variable);
  } else {
    server = server.with("host", settings.text(side + "_HOST"))
                 .with("port", std::to_string(settings.integer(side + "_PORT", 1, 65535)));
  }
  refuse_ambiguous(server, settings.optional_text(dsn_variable) ? dsn_variable : side + "_HOST");
  // Whatever PGTARGETSESSIONATTRS and PGOPTIONS say.
  server = server.with("target_session_attrs", "any").with("options", server.get("options"));
  if (server.get("user").empty()) server = server.with("user", settings.text("POSTGRES_USER"));
  if (server.get("dbname").empty()) server = server.with("dbname", settings.text("POSTGRES_DB"));
  if (const Secret password = settings.secret("POSTGRES_PASSWORD");
      server.get("password").empty() && !password.empty()) {
    server = server.with_password(password);
  }
  return server;
}

}  // namespace

void refuse_ambiguous(const Conninfo& server, const std::string& variable) {
  const char* const one_server = "name one server by host and port: the other one has a variable of its own";
  for (const char* const keyword : {"host", "hostaddr", "port"}) {
    if (server.get(keyword).find(',') == std::string::npos) continue;
    throw Error(ErrorCode::configuration,
                fmt::format("{} names several servers, {}={}", variable, keyword, server.get(keyword)), one_server);
  }
  const std::string wanted = server.get("target_session_attrs");
  if (!wanted.empty() && wanted != "any") {
    throw Error(ErrorCode::configuration,
                fmt::format("{} has target_session_attrs={}, allowed is any", variable, wanted), one_server);
  }
  for (const auto& [variable_of_libpq, hint] :
       {std::pair{"PGHOSTADDR", "unset PGHOSTADDR"},
        std::pair{"PGSERVICE", "unset PGSERVICE; PRIMARY_DSN and REPLICA_DSN may say service=…"}}) {
    const char* const everywhere = std::getenv(variable_of_libpq);
    if (everywhere == nullptr || *everywhere == '\0') continue;
    throw Error(ErrorCode::configuration,
                fmt::format("{} is set to {}: it may lead to the wrong server", variable_of_libpq, everywhere), hint);
  }
}

Conninfo Conninfo::parse(const std::string& text) {
  char* message = nullptr;
  const std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> options(PQconninfoParse(text.c_str(), &message),
                                                                             &PQconninfoFree);
  const std::unique_ptr<char, decltype(&PQfreemem)> owned(message, &PQfreemem);
  if (!options) {
    throw Error(ErrorCode::configuration, "a connection string cannot be parsed",
                "write it as \"host=… port=… dbname=… user=…\" or \"postgresql://user@host:port/dbname\"");
  }
  Conninfo parsed;
  for (const PQconninfoOption* option = options.get(); option->keyword != nullptr; ++option) {
    if (option->val != nullptr) parsed.values_[option->keyword] = option->val;
  }
  return parsed;
}

Conninfo Conninfo::with(const std::string& keyword, std::string value) const {
  Conninfo changed = without(keyword);
  changed.values_[keyword] = std::move(value);
  return changed;
}

Conninfo Conninfo::without(std::string_view keyword) const {
  Conninfo changed = *this;
  changed.values_.erase(std::string(keyword));
  if (keyword == "password") changed.password_file_.clear();
  return changed;
}

Conninfo Conninfo::with_password(const Secret& password) const {
  Conninfo changed = with("password", password.reveal());
  changed.password_file_ = password.file();
  return changed;
}

std::string Conninfo::get(std::string_view keyword) const {
  const auto found = values_.find(keyword);
  return found == values_.end() ? std::string() : found->second;
}

Secret Conninfo::text() const {
  const std::string password = password_file_.empty() ? "" : read_secret(password_file_).value_or("");
  std::string text;
  for (const auto& [keyword, value] : values_) {
    const bool anew = keyword == "password" && !password.empty();
    text += keyword + "=" + quoted_value(anew ? password : value) + " ";
  }
  return Secret(std::move(text));
}

std::string Conninfo::address() const {
  const std::string name = host();
  return (name.find(':') == std::string::npos ? name : "[" + name + "]") + ":" + port();  // RFC 3986 for IPv6
}

std::string Conninfo::host() const {
  std::string host = get("host");
  return host.empty() ? get("hostaddr") : host;
}

std::string Conninfo::port() const {
  std::string port = get("port");
  return port.empty() ? "5432" : port;
}

std::string Conninfo::describe() const { return get("user") + "@" + address() + "/" + get("dbname"); }

Pair pair_from(const Settings& settings) {
  if (settings.pair_name().empty() && settings.given("PAIRS_FILE")) {
    throw Error(ErrorCode::usage, "there is a pairs file, and no pair of it is named", "add --pair NAME");
  }
  return {server_from(settings, "PRIMARY"), server_from(settings, "REPLICA"), settings.text("MAINTENANCE_DB")};
}

/// For getting as far as a password is asked for, and no further.
static Secret without_password(const Conninfo& server, Duration deadline) {
  const auto seconds = std::max<long>(2, std::lround(to_seconds(deadline)));
  return server.with("password", "")
      .with("passfile", "/nonexistent")
      .with("connect_timeout", std::to_string(seconds))
      .text();
}

Ping ping(const Conninfo& server, Duration deadline) {
  constexpr std::string_view cannot_connect_now = "57P03";
  const Mono end = system_clock().now() + deadline;
  // With a password it would log in: that takes both sides milliseconds of hashing, and its outcome is not asked.
  const Connection connection(PQconnectStart(without_password(server, deadline).reveal().c_str()), &PQfinish);
  if (!connection || PQstatus(connection.get()) == CONNECTION_BAD) return Ping::silent;
  try {
    return log_in(connection.get(), server.describe(), end) == cannot_connect_now ? Ping::rejects : Ping::accepts;
  } catch (const Error&) {
    return PQconnectionNeedsPassword(connection.get()) != 0 ? Ping::accepts : Ping::silent;
  }
}

std::string refusal_without_password(const Conninfo& server, Duration deadline) {
  const Secret text = without_password(server, deadline);
  const Connection connection(PQconnectdb(text.reveal().c_str()), &PQfinish);
  if (PQstatus(connection.get()) == CONNECTION_OK || PQconnectionNeedsPassword(connection.get()) != 0) return "";
  std::string message = PQerrorMessage(connection.get());
  std::ranges::replace(message, '\n', ' ');
  return message.substr(0, message.find_last_not_of(' ') + 1);
}

Conninfo writable_one_of(const Pair& pair) {
  const auto both = [&](const char* keyword) { return pair.primary.get(keyword) + "," + pair.replica.get(keyword); };
  const Conninfo list = pair.primary.with("host", pair.primary.host() + "," + pair.replica.host())
                            .with("port", pair.primary.port() + "," + pair.replica.port())
                            .with("target_session_attrs", "read-write");
  // As many as there are hosts, or none.
  return both("hostaddr") == "," ? list : list.with("hostaddr", both("hostaddr"));
}

}  // namespace pgrm
