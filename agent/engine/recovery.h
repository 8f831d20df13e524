// What is done about a cutover that did not come to its end, as a table: by what its journal says, what is seen of both
// servers, and what a person has decided. Pure; recover() and every undo act on it.
#pragma once

#include <span>
#include <string_view>

namespace pgrm::agent {

/// What a person may decide against what the servers say.
enum class Decision {
  by_looking,  // back, or forward once a promotion was ordered
  abort,       // back even then: right only if that order was never carried out
  complete,    // forward in any case
};

/// How far the journal has come. Bits, so that a row can name several.
enum Written : unsigned {
  begun = 1,                // something was changed, no promotion was ordered
  ordered = 2,              // a promotion was ordered, and the fence has stood since
  undoing = 4,              // an undo was begun; no promotion had been ordered
  undoing_after_order = 8,  // an undo was begun after an order that may still be carried out
};

/// What the replica is seen to be.
enum ReplicaSeen : unsigned { standby = 1, promoted = 2, unseen = 4 };

/// What else a row may depend on.
enum class Also {
  nothing,
  lock_elsewhere,       // another agent holds the cluster's lock
  foreign_fence,        // the old primary carries the fence of another cutover
  old_elsewhere,        // under the old primary's name a primary on another timeline answers
  old_seen,             // the old primary answers
  old_gone_and_proved,  // it does not, and the replica has replayed all that it had when it was fenced
};

/// A row is taken at once, or only when it still is the right one after this time of looking.
enum class Patience {
  none,
  blind,      // Options::blind_patience: a server that is not seen may come back
  promotion,  // Options::promote_timeout: an order to promote may be carried out late
};

enum class Action {
  undo,              // lift what was done, layer by layer
  forward,           // from the first change: fence, prove, promote
  finish,            // the new primary is the primary: go on behind the promotion
  promote_alone,     // promote without the old primary
  fence_and_finish,  // fence the old primary again, then finish
  fence_and_ask,     // fence the old primary again, and leave the decision to a person
  hold,              // touch nothing
  settle,            // touch nothing, and nothing is left to do
};

struct Position {
  Written written = begun;
  ReplicaSeen replica = standby;
  bool lock_elsewhere = false, foreign_fence = false, old_elsewhere = false, old_seen = true, fence_replayed = false;
};

struct RecoveryRow {
  unsigned written;    // bits of Written
  unsigned replica;    // bits of ReplicaSeen
  unsigned decisions;  // bits, see by()
  Also also;
  Patience patience;
  Action action;
  std::string_view says;  // why, for people
  std::string_view hint;  // what to type; empty: nothing
};

/// A decision as a bit of RecoveryRow::decisions.
constexpr unsigned by(Decision decision) { return 1U << static_cast<unsigned>(decision); }

std::span<const RecoveryRow> recovery_table();

/// The first row that fits; there always is one.
const RecoveryRow& decide(const Position& position, Decision decision);

// The columns of the table in words, for `agent explain`.
std::string_view to_string(Action action);
std::string_view to_string(Also also);
std::string_view to_string(Patience patience);

}  // namespace pgrm::agent
