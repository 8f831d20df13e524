// Logging: spdlog's default logger, set up once by main(). Everything else calls spdlog::info(...) and friends.
#pragma once

#include <string>
#include <string_view>

namespace pgrm {

enum class LogFormat { text, json };

struct LogOptions {
  std::string program;         // appears in every JSON record
  std::string level = "info";  // trace, debug, info, warn, error
  LogFormat format = LogFormat::text;
  std::string file;    // appended to as well, when not empty
  bool screen = true;  // standard error
};

/// Sends log records to standard error (as text with colour only on a terminal without NO_COLOR; or one JSON object per
/// line: ts, level, program, msg) and to `file`, which nobody else may read when it is new. Throws Error(file_failed)
/// when the file cannot be opened.
void set_up_logging(const LogOptions& options);

}  // namespace pgrm
