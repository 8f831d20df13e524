// A program that is run to its end and measured: what it said, how long it took, what it cost.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/base/clock.h"

namespace pgrm::bench {

struct ChildResult {
  std::string output;  // standard output
  Duration wall{};
  Duration cpu{};        // user and system, of the program and its threads
  long max_rss_kib = 0;  // the most memory that it had at once
};

/// Runs `arguments` (the program first, found in PATH when it has no slash) with `environment` on top of this process'
/// own. Standard error goes to `log`. Throws std::runtime_error with the end of both when it does not exit with
/// `status`.
ChildResult run_child(const std::vector<std::string>& arguments, const std::map<std::string, std::string>& environment,
                      const std::string& log, int status = 0);

}  // namespace pgrm::bench
