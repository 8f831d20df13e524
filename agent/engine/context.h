// What one cutover works with, knows and tells. Steps are functions over it.
#pragma once

#include <functional>
#include <future>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "agent/base/options.h"
#include "agent/base/servers.h"
#include "agent/checks/checks.h"
#include "agent/compare/record.h"
#include "agent/demote/node_control.h"
#include "agent/engine/prediction.h"
#include "agent/engine/progress.h"
#include "agent/engine/situation.h"
#include "agent/fence/fence.h"
#include "agent/traffic/traffic.h"
#include "core/http/client.h"

namespace pgrm::agent {

struct Step;

/// Lent for the time of the cutover.
struct Means {
  const Options& options;
  Servers& servers;
  http::Client& exporter;
  Traffics& traffic;
  NodeControl& node_control;
  const Clock& clock;
  std::stop_token stop;  // asks for an undo; after the promotion nothing stops the way forward
  /// What a person still has to do before writes are stopped; empty: nothing.
  std::function<std::string()> held_by = [] { return std::string(); };
};

/// What the steps have found out for the steps after them. A recovery has from the journal what undo and the way
/// forward need; the rest is found out anew.
struct Known {
  std::string id;                   // "<utc time>-<random>": in probes, journal and report
  std::string system_identifier{};  // what the preflight saw, and what must not change
  std::uint32_t old_timeline = 0, new_timeline = 0;
  std::int64_t wal_segment = 0;              // bytes; 0: it is not aligned, see alignment.h
  Mono prepared_at{};                        // when the preparation began
  Lsn prepared_from{0};                      // and how far the old primary's WAL went then
  SystemSettings replica_settings{};         // for the time of the cutover, see replica_settings.h
  SystemSettings replica_settings_before{};  // what is put back; empty: nothing was touched
  std::optional<FencePlan> plan{};           // of the fence, once it is planned
  std::optional<Fence> fence{};
  std::future<bool> replica_accepts{};    // connections: asked while the fence is proved
  std::optional<Identity> promoted_as{};  // of the new primary, once this agent has seen it promoted
  std::optional<WalEnd> fenced_end{};     // of the old primary: fully replayed on the new one
  std::optional<Mono> proved_at{};        // when that was proved by this agent
  bool fence_looked_at = false;           // after the order to promote, and it held
  std::uint64_t own_writes = 0;           // transactions of this agent on the old primary since then
  std::future<void> old_reopens{};        // for reading, begun with the validation
  bool seen_promoted = false;  // the replica was a primary when it was last seen, and nobody becomes a standby again
  bool released = false;       // nothing holds the cutover any more
  bool recovering = false;     // goes on with what an agent that died has begun
  bool old_is_gone = false;    // a person has said so, and the replica proves that nothing is missing
  WorkloadRecord workload{};   // looks at what the application does, for the comparison
};

/// One try of a cutover whose pause was too long.
struct Attempt {
  std::string message;             // why it was undone
  std::optional<Duration> paused;  // for how long writes were stopped
  std::size_t steps = 0;           // that had been taken when it was undone, those of earlier attempts included
};

/// For people and for the report.
struct Told {
  Progress& progress;
  std::vector<Finding> findings{};
  std::optional<Prediction> prediction{};  // of the write gap, made before it
  std::optional<Mono> writes_stopped{}, writes_resumed{};
  std::vector<Writer> left_behind{};  // on the old primary, in the end
  std::vector<std::string> warnings{};
  std::string still_paused{};                  // drivers that do not let the application go on
  std::vector<Attempt> attempts{};             // that were undone and followed by another
  std::optional<Situation> situation{};        // the last look at both servers
  std::optional<Comparison> comparison{};      // of the application's life before and after
  std::string way_back{};                      // what to type to switch back without loss; empty: not looked for
  std::function<void(const Step&)> on_step{};  // before a step acts; may be empty
  std::function<void()> on_workload{};         // the looks at the old primary are taken; may be empty
  /// Writes down that somebody else has promoted the replica. Empty without a journal, and after our own promotion.
  std::function<void()> on_seen_promoted{};
};

struct Cutover : Means, Known, Told {};

}  // namespace pgrm::agent
