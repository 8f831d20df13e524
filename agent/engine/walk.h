// The engine: walks the table of steps, keeps the journal, goes back when it must, and ends what an agent that died has
// begun. Its invariants stand at the head of walk.cc.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/engine/context.h"
#include "agent/engine/journal.h"
#include "agent/engine/recovery.h"
#include "agent/engine/steps.h"

namespace pgrm::agent {

enum class StepResult { done, failed, undone, previewed };

std::string_view to_string(StepResult result);

struct StepRecord {
  const Step* step;
  Duration took;
  StepResult result;
  std::string evidence;  // or the error
};

struct Outcome {
  int exit_code = 0;
  std::string name = "done";  // Error::name() otherwise
  std::string message, hint;
  bool promoted = false;
  bool rehearsed = false;  // all but the promotion was done and undone
  std::vector<StepRecord> steps;
};

/// Makes the journal when the first change is near. What the cutover knows by then goes into it.
using OpenJournal = std::function<std::unique_ptr<Journal>(const Cutover&)>;

/// The real thing. Never throws Error: the outcome says it all, with the exit code of the contract; cutover.situation
/// is what both servers were seen to be in the end.
Outcome run_cutover(Cutover& cutover, const OpenJournal& open_journal);

/// Ends what an agent that died has left behind, `records` being its journal: looks at both servers and takes the row
/// of recovery_table() that fits. Safe at any time, any number of times. Throws only Error(file_failed), for a journal
/// that makes no sense, and Error(configuration), when a server is not of the cluster that the journal is about.
/// REQUIRES: cutover's id, system_identifier and old_timeline are those of the journal; the sessions of the dead agent
/// have ended.
Outcome recover(Cutover& cutover, Journal& journal, const std::vector<JournalRecord>& records, Decision decision);

/// What recover() would do: the row that it would take now, whatever its patience. Changes nothing. Throws as
/// recover().
const RecoveryRow& recovery_for(Cutover& cutover, const std::vector<JournalRecord>& records, Decision decision);

/// Whether that cutover needs nobody any more. One that ended unfinished or undecided does.
bool settled(const std::vector<JournalRecord>& records);

/// The same table, looked at: what only reads is done for real, everything else says what it would do. Never throws
/// Error, as run_cutover().
Outcome dry_run(Cutover& cutover);

}  // namespace pgrm::agent
