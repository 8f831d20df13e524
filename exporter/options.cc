#include "exporter/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "core/base/error.h"
#include "core/base/pairs.h"
#include "core/pg/server_node.h"
#include "exporter/gauges.h"
#include "exporter/watcher.h"

namespace pgrm::exporter {
namespace {

/// Readers of what belongs to a pair: one for each thing that can be wrong by itself.
using Read = void (*)(Options&, const Settings&);
constexpr std::array<Read, 5> parts{
    [](Options& options, const Settings& settings) {
      const Pair pair = pair_from(settings);
      // Everything that the exporter asks for is the same in every database, and a cutover closes the application's
      // own.
      options.pair = {pair.primary.with("dbname", pair.maintenance_database),
                      pair.replica.with("dbname", pair.maintenance_database), pair.maintenance_database};
    },
    [](Options& options, const Settings& settings) {
      constexpr long exact_in_a_double = 1L << 53;
      options.policy.thresholds.bytes = settings.integer("LAG_THRESHOLD_BYTES", 1, exact_in_a_double);
    },
    [](Options& options, const Settings& settings) {
      options.policy.thresholds.seconds = settings.seconds("LAG_THRESHOLD_SECONDS", 0.001, 86400);
    },
    [](Options& options, const Settings& settings) {
      options.policy.required = static_cast<int>(settings.integer("REQUIRED_SYNC_CHECKS", 1, 1'000'000));
    },
    [](Options& options, const Settings& settings) {
      options.policy.interval = settings.seconds("MONITORING_INTERVAL", 0.05, 3600);
    },
};

/// Names of labels that the series have by themselves, and those of their targets.
std::set<std::string, std::less<>> taken_labels() {
  std::set<std::string, std::less<>> taken{"cluster", "instance", "job", "exporter"};
  for (const auto& row : catalogue().rows) {
    for (std::string_view names = row[2]; !names.empty();) {
      const std::size_t comma = names.find(", ");
      taken.emplace(names.substr(0, comma));
      names = comma == std::string_view::npos ? "" : names.substr(comma + 2);
    }
  }
  return taken;
}

}  // namespace

Options options_from(const Settings& settings) {
  Options options{.pair = {},
                  .policy = {},
                  .listen = settings.text("EXPORTER_LISTEN"),
                  .web_config = settings.optional_text("EXPORTER_WEB_CONFIG").value_or("")};
  for (const Read read : parts) read(options, settings);
  return options;
}

std::vector<NamedPair> pairs_from(const Settings& settings) {
  const auto taken = taken_labels();
  std::vector<NamedPair> pairs;
  std::vector<std::string> faults;
  for (const PairEntry& entry : read_pairs(settings.text("PAIRS_FILE"))) {
    Options options;
    const Settings own = settings.of_pair(entry);
    for (const Read read : parts) {
      try {
        read(options, own);
      } catch (const Error& error) {
        if (error.code() != ErrorCode::configuration) throw;
        const std::string what = error.what();
        // A value says itself where it stands.
        const bool placed = what.starts_with(entry.origin.substr(0, entry.origin.rfind(':') + 1));
        std::string fault = placed ? what : fmt::format("{}: {}: {}", entry.origin, entry.name, what);
        // One of the defaults is everybody's.
        if (std::ranges::find(faults, fault) == faults.end()) faults.push_back(std::move(fault));
      }
    }
    for (const auto& [label, value] : entry.labels) {
      if (!taken.contains(label)) continue;
      faults.push_back(fmt::format("{}: {}: the series have a label {} of their own", entry.origin, entry.name, label));
    }
    pairs.push_back({entry.name, entry.labels, std::move(options.pair), options.policy});
  }
  if (!faults.empty()) throw faults_of_pairs(faults);
  return pairs;
}

std::unique_ptr<Node> observer_of(const Conninfo& server) {
  return make_server_node(server, {.application_name = "pgrm-exporter", .observer_timeout = look_deadline});
}

}  // namespace pgrm::exporter
