// pgbench as the peer: the same statements in the same proportions, as scripts of its own language.
#pragma once

#include <string>
#include <vector>

#include "loadgen/workload.h"

namespace pgrm::bench {

struct Script {
  std::string text;
  int weight;
};

/// One script per operation; for orders one per number of items, because pgbench cannot make an array of random length.
/// They need the variables of `constants` and, per client, `n` = 0.
std::vector<Script> scripts_of(const loadgen::Mix& mix);

/// -D arguments for what the scripts leave constant: names and the like, whose value costs nothing anywhere.
std::vector<std::string> constants(const std::string& run);

/// The latencies (from the scheduled start) in the files that `pgbench --log --log-prefix=PREFIX` wrote, sorted.
std::vector<double> latencies_in_logs(const std::string& prefix);

}  // namespace pgrm::bench
