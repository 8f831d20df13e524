// `loadgen run`: clients, schedule, ledger, control API and reports, put together.
#pragma once

#include <cstdint>
#include <functional>
#include <iosfwd>
#include <optional>
#include <stop_token>
#include <string>

#include "core/base/clock.h"
#include "core/base/secret.h"
#include "core/pg/conninfo.h"
#include "loadgen/workload.h"

namespace pgrm::loadgen {

struct RunOptions {
  Pair pair{};
  double ops_per_second = 100;  // 0: as fast as it goes
  int connections = 10;
  Duration report_interval = std::chrono::seconds(10);
  std::optional<Duration> duration{};  // nullopt: until it is told to stop
  std::string ledger{};                // path; empty: none
  Mix mix = default_mix;
  std::uint64_t seed = 1;
  double reads = 0;  // for each write; 0: none
  std::string listen{};
  std::string web_config{};  // path; empty: plain HTTP
  Secret control_token{};
  std::function<void(int port)> started{};  // called when operations have begun and HTTP is answered; may be empty
};

/// Runs until `stop` or the end of the duration, through whatever happens to the servers. Prints a line per report
/// interval, a summary and one line of JSON to `out`. Throws Error when it cannot begin, and Error(file_failed) when
/// the ledger cannot go on.
void run(const RunOptions& options, const Clock& clock, const std::stop_token& stop, std::ostream& out);

}  // namespace pgrm::loadgen
