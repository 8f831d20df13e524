// The engine: walks the table of steps, keeps the journal, undoes what has to be undone.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "agent/checks.h"
#include "agent/fence.h"
#include "agent/journal.h"
#include "agent/options.h"
#include "agent/prediction.h"
#include "agent/progress.h"
#include "agent/servers.h"
#include "agent/steps.h"
#include "agent/traffic.h"
#include "core/http/client.h"

namespace pgrm::agent {

/// What the steps work with, and what they find out for the steps after them and for the report.
struct Cutover {
  const Options& options;
  Servers& servers;
  http::Client& exporter;
  Traffics& traffic;
  const Clock& clock;
  Progress& progress;
  std::stop_token stop;  // asks for an undo; after the promotion nothing stops the way forward
  std::string id;        // "<utc time>-<random>": in probes, journal and report

  std::vector<Finding> findings{};
  std::string system_identifier{};  // what the preflight saw, and what must not change
  std::uint32_t old_timeline = 0, new_timeline = 0;
  std::optional<Prediction> prediction{};  // of the write gap, made before it
  std::optional<Fence> fence{};
  std::optional<WalEnd> fenced_end{};  // of the old primary: fully replayed on the new one
  std::optional<Mono> writes_stopped{}, writes_resumed{};
  std::vector<std::string> warnings{};
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

/// What a person may decide when the servers cannot.
enum class Decision { by_looking, abort, complete };

/// Ends what an agent that died has left behind, `records` being its journal: before the promotion was ordered, back;
/// after it has happened, forward. In between only `decision` helps: an order to promote may still be carried out, so
/// that both servers stay fenced (exit code 7). Safe at any time, any number of times. Throws only Error(file_failed),
/// for a journal that names an unknown step.
/// REQUIRES: cutover's id, system_identifier and old_timeline are those of the journal.
Outcome recover(Cutover& cutover, Journal& journal, const std::vector<JournalRecord>& records, Decision decision);

/// The same table, looked at: what only reads is done for real, everything else says what it would do.
Outcome dry_run(Cutover& cutover);

}  // namespace pgrm::agent
