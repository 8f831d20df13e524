#include "core/pg/conninfo.h"

#include <fmt/format.h>
#include <libpq-fe.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <utility>

#include "core/base/error.h"

namespace pgrm {
namespace {

std::string quoted_value(std::string_view value) {
  std::string text = "'";
  for (const char c : value) {
    if (c == '\'' || c == '\\') text += '\\';
    text += c;
  }
  return text + "'";
}

/// A conninfo that leads to one server today may lead to the other one tomorrow: after a promotion, for one.
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
  if (const char* const everywhere = std::getenv("PGHOSTADDR"); everywhere != nullptr && *everywhere != '\0') {
    throw Error(ErrorCode::configuration,
                fmt::format("PGHOSTADDR is set to {}: it leads both servers to one address", everywhere),
                "unset PGHOSTADDR");
  }
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
  } else {
    server = server.with("host", settings.text(side + "_HOST"))
                 .with("port", std::to_string(settings.integer(side + "_PORT", 1, 65535)));
  }
  refuse_ambiguous(server, settings.optional_text(dsn_variable) ? dsn_variable : side + "_HOST");
  server = server.with("target_session_attrs", "any");  // whatever PGTARGETSESSIONATTRS says
  if (server.get("user").empty()) server = server.with("user", settings.text("POSTGRES_USER"));
  if (server.get("dbname").empty()) server = server.with("dbname", settings.text("POSTGRES_DB"));
  if (const Secret password = settings.secret("POSTGRES_PASSWORD");
      server.get("password").empty() && !password.empty()) {
    server = server.with("password", password.reveal());
  }
  return server;
}

}  // namespace

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
  Conninfo changed = *this;
  changed.values_[keyword] = std::move(value);
  return changed;
}

std::string Conninfo::get(std::string_view keyword) const {
  const auto found = values_.find(keyword);
  return found == values_.end() ? std::string() : found->second;
}

Secret Conninfo::text() const {
  std::string text;
  for (const auto& [keyword, value] : values_) text += keyword + "=" + quoted_value(value) + " ";
  return Secret(std::move(text));
}

std::string Conninfo::address() const { return host() + ":" + port(); }

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
  return {server_from(settings, "PRIMARY"), server_from(settings, "REPLICA")};
}

/// For getting as far as a password is asked for, and no further.
static Secret without_password(const Conninfo& server, Duration deadline) {
  const auto seconds = std::max<long>(2, std::lround(to_seconds(deadline)));
  return server.with("password", "")
      .with("passfile", "/nonexistent")
      .with("connect_timeout", std::to_string(seconds))
      .text();
}

bool ping(const Conninfo& server, Duration deadline) {
  // With a password, PQping would log in: that takes both sides milliseconds of hashing, and its outcome is not asked.
  return PQping(without_password(server, deadline).reveal().c_str()) == PQPING_OK;
}

std::string refusal_without_password(const Conninfo& server, Duration deadline) {
  const Secret text = without_password(server, deadline);
  const std::unique_ptr<PGconn, decltype(&PQfinish)> connection(PQconnectdb(text.reveal().c_str()), &PQfinish);
  if (PQstatus(connection.get()) == CONNECTION_OK || PQconnectionNeedsPassword(connection.get()) != 0) return "";
  std::string message = PQerrorMessage(connection.get());
  std::ranges::replace(message, '\n', ' ');
  return message.substr(0, message.find_last_not_of(' ') + 1);
}

Conninfo writable_one_of(const Pair& pair) {
  return pair.primary.with("host", pair.primary.host() + "," + pair.replica.host())
      .with("port", pair.primary.port() + "," + pair.replica.port())
      .with("target_session_attrs", "read-write");
}

}  // namespace pgrm
