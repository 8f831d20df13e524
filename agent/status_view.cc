#include "agent/status_view.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <ostream>

#include "core/replication/lag.h"

namespace pgrm::agent {
namespace {

std::string role_of(const NodeSample& node) {
  if (!node.state) return "unreachable";
  if (node.state->in_recovery) return "standby";
  return node.state->default_read_only ? "read-only" : "primary";
}

std::string lsn(const std::optional<Lsn>& position) { return position ? position->to_string() : "-"; }

std::string position_of(const NodeSample& node) {
  if (!node.state) return node.error;
  if (node.state->in_recovery) {
    return fmt::format("received {}, replayed {}", lsn(node.state->wal_receive), lsn(node.state->wal_replay));
  }
  return fmt::format("flushed {}", lsn(node.state->wal_flush));
}

std::string timeline_of(const NodeSample& node) {
  return node.state && node.state->timeline ? std::to_string(*node.state->timeline) : "-";
}

}  // namespace

void print_status(std::ostream& out, const Sample& sample, const std::optional<ExporterState>& exporter) {
  out << fmt::format("  {:<9} {:<22} {:<12} {:<9} {}\n", "server", "address", "is", "timeline", "WAL");
  for (const Side side : {Side::primary, Side::replica}) {
    const NodeSample& node = sample[side];
    out << fmt::format("  {:<9} {:<22} {:<12} {:<9} {}\n", to_string(side), node.address, role_of(node),
                       timeline_of(node), position_of(node));
  }
  const PairLag lag = pair_lag(sample);
  out << fmt::format("\n  lag       {}\n",
                     lag.replay_bytes ? fmt::format("{} bytes to replay", *lag.replay_bytes) : "unknown");
  if (!exporter) {
    out << "  in sync   unknown: the exporter does not answer\n";
    return;
  }
  const auto& state = sample.primary.state ? sample.primary.state : sample.replica.state;
  const std::string& watched = exporter->primary.system_identifier.empty() ? exporter->replica.system_identifier
                                                                           : exporter->primary.system_identifier;
  if (!state || watched != state->system_identifier) {
    out << "  in sync   unknown: the exporter does not see these servers\n";
    return;
  }
  out << fmt::format("  in sync   {} of {} consecutive checks\n", exporter->consecutive, exporter->required);
  for (const SyncReason& reason : exporter->reasons) out << fmt::format("            {}\n", reason.text);
}

}  // namespace pgrm::agent
