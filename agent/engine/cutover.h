// The engine: walks the table of steps, keeps the journal, undoes what has to be undone.
#pragma once

#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "agent/base/options.h"
#include "agent/base/servers.h"
#include "agent/checks/checks.h"
#include "agent/demote/node_control.h"
#include "agent/engine/journal.h"
#include "agent/engine/prediction.h"
#include "agent/engine/progress.h"
#include "agent/engine/steps.h"
#include "agent/fence/fence.h"
#include "agent/traffic/traffic.h"
#include "core/http/client.h"

namespace pgrm::agent {

/// What the steps work with, and what they find out for the steps after them and for the report.
struct Cutover {
  const Options& options;
  Servers& servers;
  http::Client& exporter;
  Traffics& traffic;
  NodeControl& node_control;
  const Clock& clock;
  Progress& progress;
  std::stop_token stop;  // asks for an undo; after the promotion nothing stops the way forward
  std::string id;        // "<utc time>-<random>": in probes, journal and report

  std::vector<Finding> findings{};
  std::string system_identifier{};  // what the preflight saw, and what must not change
  std::uint32_t old_timeline = 0, new_timeline = 0;
  std::int64_t wal_segment = 0;  // bytes; 0: it is not aligned, see alignment.h
  Mono prepared_at{};            // when the preparation began
  Lsn prepared_from{0};          // and how far the old primary's WAL went then
  /// What ALTER SYSTEM had set it to on the future primary; nullopt: it was not touched.
  std::optional<std::optional<std::string>> wal_init_zero_before{};
  std::optional<Prediction> prediction{};  // of the write gap, made before it
  std::optional<FencePlan> plan{};         // of the fence, once it is planned
  std::optional<Fence> fence{};
  std::future<bool> replica_accepts{};  // connections: asked while the fence is proved
  std::optional<WalEnd> fenced_end{};   // of the old primary: fully replayed on the new one
  std::uint64_t own_writes = 0;         // transactions of ours on the old primary since then
  std::future<void> old_reopens{};      // for reading, begun with the validation
  bool recovering = false;              // goes on with what an agent that died has begun
  std::optional<Mono> writes_stopped{}, writes_resumed{};
  std::vector<std::string> warnings{};
  std::string still_paused{};                  // drivers that answer and yet do not let the application go on
  std::function<void(const Step&)> on_step{};  // before a step acts; may be empty
};

struct StepRecord {
  const Step* step;
  Duration took;
  std::string result;    // done, failed, undone, looked
  std::string evidence;  // or the error
};

struct Outcome {
  int exit_code = 0;
  std::string name = "done";  // Error::name() otherwise
  std::string message, hint;
  bool promoted = false;
  std::vector<StepRecord> steps;
};

/// Makes the journal when the first change is near. What Cutover knows by then goes into it: id, system identifier,
/// timeline.
using OpenJournal = std::function<std::unique_ptr<Journal>(const Cutover&)>;

/// The real thing. Never throws Error: the outcome says it all, with the exit code of the contract.
Outcome run_cutover(Cutover& cutover, const OpenJournal& open_journal);

/// What a person may decide against what the servers say.
enum class Decision {
  by_looking,  // back, or forward once a promotion was ordered
  abort,       // back even then: right only if that order was never carried out
  complete,    // forward in any case
};

/// Ends what an agent that died has left behind, `records` being its journal. Before a promotion was ordered: back.
/// Once it was, it may still be carried out, so that there is no way back: forward, proving everything anew. While a
/// server that is needed cannot be seen, both stay fenced (exit code 7). Safe at any time, any number of times. Throws
/// only Error(file_failed), for a journal that makes no sense, and Error(configuration), when a server is not of the
/// cluster that the journal is about. REQUIRES: cutover's id, system_identifier and old_timeline are those of the
/// journal.
Outcome recover(Cutover& cutover, Journal& journal, const std::vector<JournalRecord>& records, Decision decision);

/// Whether that cutover needs nobody any more. One that ended unfinished or undecided does.
bool settled(const std::vector<JournalRecord>& records);

/// The same table, looked at: what only reads is done for real, everything else says what it would do.
Outcome dry_run(Cutover& cutover);

}  // namespace pgrm::agent
