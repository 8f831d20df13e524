// What a person sees while a cutover runs.
#pragma once

#include <iosfwd>
#include <string>
#include <string_view>

#include "core/base/clock.h"

namespace pgrm::agent {

/// Prints one line a step to `out`. On a terminal the running step's line is alive: it shows what is waited for. Silent
/// when `out` is nullptr.
class Progress {
 public:
  Progress(std::ostream* out, bool terminal, bool colour) : out_(out), terminal_(terminal), colour_(colour) {}

  void begins(std::string_view step, std::string_view why);
  /// The running step waits for `what`; prints only what has changed.
  void waits(const std::string& what);
  void ends(std::string_view result, Duration took, const std::string& evidence);
  /// A line of its own between steps.
  void says(const std::string& text);

 private:
  void replace_line(const std::string& text);

  std::ostream* out_;
  bool terminal_, colour_;
  bool line_open_ = false;
  std::string step_, last_wait_;
};

}  // namespace pgrm::agent
