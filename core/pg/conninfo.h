// Where a server is and how to log in: libpq's connection parameters (libpq, "Connection Strings").
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "core/base/config.h"
#include "core/base/secret.h"

namespace pgrm {

/// An immutable set of libpq keywords and values.
class Conninfo {
 public:
  /// A keyword/value string or a postgresql:// URI. Throws Error(configuration), without repeating the text: it may
  /// hold a password.
  static Conninfo parse(const std::string& text);

  Conninfo with(const std::string& keyword, std::string value) const;
  Conninfo without(std::string_view keyword) const;
  /// Where the password comes from a file, text() has what the file says by then: a password may be rotated.
  Conninfo with_password(const Secret& password) const;
  /// Empty: the password comes from no file.
  const std::string& password_file() const { return password_file_; }
  /// The value of `keyword`, empty when not set.
  std::string get(std::string_view keyword) const;
  /// A password of any kind: the server's or that of the client's key.
  bool has_password() const { return !get("password").empty() || !get("sslpassword").empty(); }

  /// For libpq only, right before it connects: may contain the password. A password file that says nothing counts as
  /// not changed.
  Secret text() const;
  /// "user@host:port/database": for people, without secrets.
  std::string describe() const;
  /// "host:port"
  std::string address() const;
  /// The host as given, or the address when there is only that.
  std::string host() const;
  /// 5432 when none is given.
  std::string port() const;

 private:
  std::map<std::string, std::string, std::less<>> values_;
  std::string password_file_;
};

/// The pair that a migration is about. pair_from() names the two as the configuration does, whatever their roles are
/// now: `primary` is PRIMARY_*, `replica` is REPLICA_*. For the way back (--switch-back) the agent swaps them.
struct Pair {
  Conninfo primary;
  Conninfo replica;
  std::string maintenance_database =
      "postgres";  // for all that is not the application's: its own is closed for a while
};

/// From PRIMARY_*, REPLICA_*, POSTGRES_* and MAINTENANCE_DB; a service of libpq's is replaced by what its file says.
/// Database: POSTGRES_DB unless a DSN names one. Throws Error(usage) for a password on the command line,
/// Error(configuration) for any other bad value.
Pair pair_from(const Settings& settings);

/// A conninfo that leads to one server today may lead to the other one tomorrow: after a promotion, for one. Throws
/// Error(configuration) for several hosts, target_session_attrs, PGHOSTADDR and PGSERVICE. `variable` is named.
void refuse_ambiguous(const Conninfo& server, const std::string& variable);

enum class Ping { accepts, rejects, silent };
/// Whether a server accepts connections there, rejects them (it starts or stops), or says nothing within `deadline`.
/// Gives no password.
Ping ping(const Conninfo& server, Duration deadline);

/// What the server says to a login without a password: empty when it lets in or asks for one, which is all that can be
/// known without it. At most `deadline`, 2 s at the least.
std::string refusal_without_password(const Conninfo& server, Duration deadline);

/// One conninfo with both hosts that libpq follows to whichever server takes writes (target_session_attrs=read-write).
Conninfo writable_one_of(const Pair& pair);

}  // namespace pgrm
