// The one kind of exception that crosses a seam, and the one table of what can go wrong.
#pragma once

#include <array>
#include <stdexcept>
#include <string>
#include <string_view>

namespace pgrm {

enum class ErrorCode {
  internal,
  usage,
  configuration,
  unreachable,
  connection_lost,
  timeout,
  authentication,
  permission_denied,
  read_only,
  query_failed,
  http_failed,
  file_failed,
  proof_failed,
  preflight_refused,
  sync_timeout,
  pause_exceeded,
  undone,
  unfinished,
  undecided,
};

struct ErrorRow {
  ErrorCode code;
  std::string_view name;  // stable: logs, reports, JSON
  int exit_code;
  std::string_view hint;  // what to do when the throw site knows nothing better; may be empty
};

inline constexpr std::array error_table{
    ErrorRow{ErrorCode::internal, "internal", 1, "this is a bug: please report it with the log"},
    ErrorRow{ErrorCode::usage, "usage", 2, "see --help"},
    ErrorRow{ErrorCode::configuration, "configuration", 2, "see .env.example for every variable and what it allows"},
    ErrorRow{ErrorCode::unreachable, "unreachable", 1, "check host, port and that the server runs"},
    ErrorRow{ErrorCode::connection_lost, "connection_lost", 1, "look at the server's log"},
    ErrorRow{ErrorCode::timeout, "timeout", 1,
             "the server may be hung or overloaded: look at pg_stat_activity and its log"},
    ErrorRow{ErrorCode::authentication, "authentication", 1,
             "check user, password (POSTGRES_PASSWORD_FILE, ~/.pgpass) and pg_hba.conf"},
    ErrorRow{ErrorCode::permission_denied, "permission_denied", 1, "grant what postgresql/roles.sql grants"},
    ErrorRow{ErrorCode::read_only, "read_only", 1, "the server is a standby or fenced: write to the primary"},
    ErrorRow{ErrorCode::query_failed, "query_failed", 1, "look at the server's log"},
    ErrorRow{ErrorCode::http_failed, "http_failed", 1, "check the URL and that the program runs"},
    ErrorRow{ErrorCode::file_failed, "file_failed", 1, "check the path, its permissions and the free space"},
    ErrorRow{ErrorCode::proof_failed, "proof_failed", 1, ""},
    ErrorRow{ErrorCode::preflight_refused, "preflight_refused", 3, "fix what every failed check names, then try again"},
    ErrorRow{ErrorCode::sync_timeout, "sync_timeout", 4, "look at the lag and what blocks it, then try again"},
    ErrorRow{ErrorCode::pause_exceeded, "pause_exceeded", 5,
             "the report says which step took the time; --max-write-pause allows more"},
    ErrorRow{ErrorCode::undone, "undone", 5, "the old primary is the primary as before: fix the cause, then try again"},
    ErrorRow{ErrorCode::unfinished, "unfinished", 6,
             "the new primary is authoritative: finish by hand what the report names"},
    ErrorRow{ErrorCode::undecided, "undecided", 7, "agent recover --dry-run says what is seen and what would be done"},
};

/// The row of `code`; every code has one (a test holds it).
const ErrorRow& error_row(ErrorCode code);

/// Whether a cutover with this exit code needs `agent recover`: unfinished or undecided.
bool needs_recovery(int exit_code);

/// Whether there was no session, or it was lost, so that the question has no answer.
bool is_without_session(ErrorCode code);

/// what(): lower case, no full stop, with observed and required values. hint(): what to type; the table's when none
/// was given.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& what, std::string hint = {});
  ErrorCode code() const { return code_; }
  std::string_view name() const { return error_row(code_).name; }
  int exit_code() const { return error_row(code_).exit_code; }
  const std::string& hint() const { return hint_; }

 private:
  ErrorCode code_;
  std::string hint_;
};

/// "what\nhint: …", as a person reads it at the end of a failed command.
std::string to_text(const Error& error);

}  // namespace pgrm
