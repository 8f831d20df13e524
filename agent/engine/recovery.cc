#include "agent/engine/recovery.h"

#include <algorithm>
#include <array>

#include "core/base/error.h"

namespace pgrm::agent {
namespace {

constexpr unsigned look = by(Decision::by_looking);
constexpr unsigned abort = by(Decision::abort);
constexpr unsigned complete = by(Decision::complete);
constexpr unsigned any = look | abort | complete;
constexpr unsigned any_journal = begun | ordered | undoing | undoing_after_order;
constexpr unsigned any_undo = undoing | undoing_after_order;
constexpr unsigned any_replica = standby | promoted | unseen;

constexpr std::string_view ask_hint =
    "agent recover --complete accepts the new primary; to keep the old one instead, stop the new one for good, then: "
    "agent recover --abort";
constexpr std::string_view bring_back = "bring it back into reach; then: agent recover";

constexpr std::array table{
    RecoveryRow{any_journal, any_replica, any, Also::lock_elsewhere, Patience::none, Action::hold,
                "another agent holds the lock of this cluster", "wait until it has ended; then: agent recover"},
    RecoveryRow{any_journal, any_replica, any, Also::foreign_fence, Patience::none, Action::hold,
                "the old primary carries the fence of another cutover",
                "agent recover where that cutover has its STATE_DIR"},

    RecoveryRow{any_journal, any_replica, look | complete, Also::old_elsewhere, Patience::none, Action::hold,
                "a primary on another timeline answers under the old primary's name",
                "if the name was moved, move it back, then: agent recover. If the servers were switched over since: "
                "agent recover --abort"},
    RecoveryRow{any_journal, any_replica, abort, Also::old_elsewhere, Patience::none, Action::settle,
                "a person says that the servers were switched over since; nothing was touched", ""},

    RecoveryRow{begun, standby, look | abort, Also::nothing, Patience::none, Action::undo, "no promotion was ordered",
                ""},
    RecoveryRow{begun, standby, complete, Also::old_seen, Patience::none, Action::forward,
                "a person wants the cutover completed", ""},
    RecoveryRow{begun, promoted, look | abort, Also::nothing, Patience::none, Action::fence_and_ask,
                "the replica was promoted, and not by this cutover", ask_hint},
    RecoveryRow{begun, promoted, complete, Also::nothing, Patience::none, Action::fence_and_finish,
                "a person accepts the replica that somebody else has promoted", ""},
    RecoveryRow{begun, unseen, look | abort, Also::nothing, Patience::blind, Action::undo,
                "no promotion was ordered, and the replica cannot be seen", ""},

    RecoveryRow{ordered, promoted, any, Also::nothing, Patience::none, Action::finish, "the promotion was carried out",
                ""},
    RecoveryRow{ordered, standby, look | complete, Also::old_seen, Patience::none, Action::forward,
                "a promotion was ordered and may still be carried out", ""},
    RecoveryRow{ordered, standby, complete, Also::old_gone_and_proved, Patience::none, Action::promote_alone,
                "the old primary is gone, and the replica has replayed all that it had", ""},
    RecoveryRow{ordered, standby, abort, Also::nothing, Patience::promotion, Action::undo,
                "a person says that the order was never carried out", ""},
    RecoveryRow{ordered, unseen, abort, Also::nothing, Patience::blind, Action::undo,
                "a person says that the replica is gone for good", ""},

    RecoveryRow{any_undo, promoted, complete, Also::nothing, Patience::none, Action::fence_and_finish,
                "a person accepts the new primary, without what the old one has written since the undo began", ""},
    RecoveryRow{any_undo, promoted, look | abort, Also::nothing, Patience::none, Action::fence_and_ask,
                "the replica was promoted after an undo had begun: the old primary may have taken writes that the new "
                "one does not have",
                ask_hint},
    RecoveryRow{undoing, standby, look | abort, Also::nothing, Patience::none, Action::undo, "an undo was begun", ""},
    RecoveryRow{undoing_after_order, standby, look | abort, Also::nothing, Patience::promotion, Action::undo,
                "an undo was begun, and the order to promote was not carried out", ""},
    RecoveryRow{any_undo, standby, complete, Also::old_seen, Patience::none, Action::forward,
                "a person wants the cutover completed", ""},
    RecoveryRow{undoing, unseen, look | abort, Also::nothing, Patience::blind, Action::undo,
                "an undo was begun, and the replica cannot be seen", ""},
    RecoveryRow{undoing_after_order, unseen, abort, Also::nothing, Patience::blind, Action::undo,
                "a person says that the replica is gone for good", ""},

    RecoveryRow{any_journal, standby, any, Also::nothing, Patience::none, Action::hold,
                "the old primary cannot be seen", bring_back},
    RecoveryRow{any_journal, unseen, any, Also::nothing, Patience::none, Action::hold,
                "the replica cannot be seen, and a promotion may have been carried out there",
                "bring it back into reach; then: agent recover. If it is gone for good: agent recover --abort"},
};

bool holds(Also also, const Position& position) {
  switch (also) {
    case Also::nothing:
      return true;
    case Also::lock_elsewhere:
      return position.lock_elsewhere;
    case Also::foreign_fence:
      return position.foreign_fence;
    case Also::old_elsewhere:
      return position.old_elsewhere;
    case Also::old_seen:
      return position.old_seen;
    case Also::old_gone_and_proved:
      return !position.old_seen && position.fence_replayed;
  }
  return false;
}

}  // namespace

std::span<const RecoveryRow> recovery_table() { return table; }

const RecoveryRow& decide(const Position& position, Decision decision) {
  const auto* const row = std::ranges::find_if(table, [&](const RecoveryRow& candidate) {
    return (candidate.written & position.written) != 0 && (candidate.replica & position.replica) != 0 &&
           (candidate.decisions & by(decision)) != 0 && holds(candidate.also, position);
  });
  if (row == table.end()) throw Error(ErrorCode::internal, "the table of recovery has no row for this");
  return *row;
}

std::string_view to_string(Action action) {
  constexpr std::string_view words[] = {
      "undo",
      "go forward: fence, prove, promote",
      "finish behind the promotion",
      "promote without the old primary",
      "fence the old primary again, then finish",
      "fence the old primary again, exit code 7",
      "touch nothing, exit code 7",
      "touch nothing, exit code 5",
  };
  return words[static_cast<int>(action)];
}

std::string_view to_string(Also also) {
  constexpr std::string_view words[] = {"",
                                        "another agent holds the lock",
                                        "the old primary carries another cutover's fence",
                                        "a primary on another timeline under the old primary's name",
                                        "the old primary is seen",
                                        "the old primary is not seen, the replica has replayed the fence's position"};
  return words[static_cast<int>(also)];
}

std::string_view to_string(Patience patience) {
  constexpr std::string_view words[] = {"", "still so after 10 s of looking, at most 1 s while the application waits",
                                        "still so after PROMOTE_TIMEOUT"};
  return words[static_cast<int>(patience)];
}

}  // namespace pgrm::agent
