#include "core/base/error.h"

#include <sstream>
#include <utility>

#include "core/base/printable.h"

namespace pgrm {

const ErrorRow& error_row(ErrorCode code) { return error_table.at(static_cast<std::size_t>(code)); }

bool needs_recovery(int exit_code) {
  return exit_code == error_row(ErrorCode::unfinished).exit_code ||
         exit_code == error_row(ErrorCode::undecided).exit_code;
}

bool is_without_session(ErrorCode code) {
  return code == ErrorCode::unreachable || code == ErrorCode::connection_lost || code == ErrorCode::authentication;
}

Error::Error(ErrorCode code, const std::string& what, std::string hint)
    : std::runtime_error(what),
      code_(code),
      hint_(hint.empty() ? std::string(error_row(code).hint) : std::move(hint)) {}

std::string to_text(const Error& error) {
  std::string text;
  std::istringstream lines(error.what());  // some messages list several faults
  for (std::string line; std::getline(lines, line);) text += (text.empty() ? "" : "\n") + printable(line);
  if (!error.hint().empty()) text += "\nhint: " + printable(error.hint());
  return text;
}

}  // namespace pgrm
