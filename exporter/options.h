// What the exporter has to know before it starts, validated.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/base/config.h"
#include "core/pg/conninfo.h"
#include "core/pg/node.h"
#include "core/replication/sync_streak.h"

namespace pgrm::exporter {

/// One pair of a pairs file.
struct NamedPair {
  std::string name;
  std::map<std::string, std::string> labels;
  Pair pair;  // both in the maintenance database
  SyncPolicy policy;
};

struct Options {
  Pair pair;  // both in the maintenance database
  SyncPolicy policy;
  std::string listen;
  std::string web_config;  // a file; empty: plain HTTP
};

/// Throws Error(configuration, usage) that names the setting, its value and what is allowed.
Options options_from(const Settings& settings);

/// Every pair of PAIRS_FILE. Throws Error(configuration) with one line for each fault of the whole file.
std::vector<NamedPair> pairs_from(const Settings& settings);

/// The server as the exporter looks at it. Does not connect yet.
std::unique_ptr<Node> observer_of(const Conninfo& server);

}  // namespace pgrm::exporter
