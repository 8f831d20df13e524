// Invariants, whatever other people and programs do to the pair:
//   1. Nothing is changed before the promotion without the cluster's lock, proved by the session that holds it. A lost
//      lock is taken again before anything is undone; while another agent has it, nothing is touched.
//   2. The old primary is opened only after the replica was looked at: it is seen in recovery, or it was not seen for
//      Options::blind_patience (for at most a second while the application waits) and no order to promote is on its way
//      (or a person says that it is gone for good).
//   3. The new primary is opened only behind a fence on the old one that was looked at after the promotion, or when the
//      old one cannot be seen.
//   4. A step's `begin` is in the journal before the step acts, and `undoing` before anything is lifted. The journal
//      also has a promotion by somebody else, as soon as it is seen, and a person's decision to accept it.
//   5. What is told about the servers in the end was looked at in the end.
#include "agent/engine/walk.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "agent/engine/acts.h"
#include "agent/engine/marker.h"
#include "core/base/error.h"
#include "core/base/wait.h"

namespace pgrm::agent {
namespace {

struct Begun {
  const Step* step;
  nlohmann::json before;
};

/// REQUIRES: there is one.
const Step& step_named(std::string_view name) { return *std::ranges::find(steps(), name, &Step::name); }

void require(bool condition, const char* invariant) {
  if (!condition) throw Error(ErrorCode::internal, std::string("broken invariant: ") + invariant);
}

/// A surprise (a bug, no memory) must be undone like any other failure.
Error as_error(const std::exception& failure) {
  const auto* const error = dynamic_cast<const Error*>(&failure);
  return error != nullptr ? *error : Error(ErrorCode::internal, failure.what());
}

/// One walk through a piece of work that a person watches: timed, shown, logged and put into the outcome.
void perform(Cutover& cutover, Outcome& outcome, const Step& step, std::string_view why, StepResult result,
             const std::function<std::string()>& work) {
  spdlog::info("{}: {}", step.name, why);
  cutover.progress.begins(step.name, why, result == StepResult::undone ? "undo" : step.name);
  const Mono start = cutover.clock.now();
  const auto ends = [&](StepResult end, const std::string& evidence) {
    const Duration took = cutover.clock.now() - start;
    outcome.steps.push_back({&step, took, end, evidence});
    cutover.progress.writes(cutover.writes_stopped, cutover.writes_resumed);
    cutover.progress.ends(to_string(end), took, evidence);
    spdlog::info("{}: {}, {} ({})", step.name, to_string(end), evidence, human(took));
  };
  try {
    ends(result, work());
  } catch (const std::exception& failure) {
    ends(StepResult::failed, failure.what());
    throw;
  }
}

/// For records after which there is no other way than the one taken: going on matters more than the record.
void try_to_record(Cutover& cutover, const std::function<void()>& record) {
  try {
    record();
  } catch (const Error& error) {
    cutover.warnings.push_back(fmt::format("the journal is incomplete: {}", error.what()));
  }
}

bool ordered_to_promote(const std::vector<Begun>& begun) {
  return std::ranges::any_of(begun, [](const Begun& entry) { return entry.step->commits; });
}

void conclude(Outcome& outcome, ErrorCode code, const std::string& message, const std::string& hint = {}) {
  const ErrorRow& row = error_row(code);
  outcome.exit_code = row.exit_code;
  outcome.name = row.name;
  outcome.message = message;
  outcome.hint = hint.empty() ? std::string(row.hint) : hint;
}

/// What was seen once must outlive this process, because the next one may not see the replica: it is written down
/// before anything else is asked.
void note_promotion(Cutover& cutover) {
  if (!std::exchange(cutover.seen_promoted, true) && cutover.on_seen_promoted) cutover.on_seen_promoted();
}

void record_promotions_in(Cutover& cutover, Journal& journal) {
  cutover.on_seen_promoted = [&] { try_to_record(cutover, [&] { journal.seen_promoted(); }); };
}

const Situation& look(Cutover& cutover, Trying how, Duration deadline) {
  if (cutover.old_reopens.valid()) cutover.old_reopens.wait();  // an order over a session that is closed here
  const auto timeline = cutover.old_timeline == 0 ? std::nullopt : std::optional(cutover.old_timeline);
  const auto replica_seen = [&](const ServerSeen& replica) {
    if (replica.promoted()) note_promotion(cutover);
  };
  cutover.situation = look_around(cutover.servers, cutover.options.pair, how, deadline, timeline, replica_seen);
  return *cutover.situation;
}

const Situation& look(Cutover& cutover, Trying how = Trying::writing) {
  return look(cutover, how, cutover.options.call_deadline);
}

/// Both servers as they were seen last, in words.
std::string as_seen(const Cutover& cutover) {
  return fmt::format("{}; {}", describe(cutover.situation->old_primary), describe(cutover.situation->new_primary));
}

// ---- the lock

/// Takes the cluster's lock unless this cutover has it. Returns who has it instead; empty: it is ours, or the old
/// primary cannot be asked and so gives it to nobody.
std::string lock_holder_elsewhere(Cutover& cutover) {
  const Duration deadline = undo_deadline(cutover);
  Node& lock = *cutover.servers.lock;
  std::string holder;
  bool own = false;  // a session of this agent's that was cut off: the server has not noticed yet
  const auto held = [&] {
    holder.clear();
    if (lock.holds_lock(deadline) || lock.try_lock(deadline)) return true;
    own = lock.end_own_lock(deadline);
    holder = lock.lock_holder(deadline);
    if (holder.empty()) holder = "a session that has just ended";
    return false;
  };
  const auto answered = [&] {
    const auto answer = seen_anew(lock, held);
    if (!answer) holder.clear();
    return answer.value_or(true) || (!own && !cutover.recovering);
  };
  // The server takes a moment to end a session, also that of an agent that was killed.
  const auto patience = std::chrono::seconds(cutover.recovering ? 5 : 1);
  wait_until(cutover.clock, patience, std::chrono::milliseconds(50), {}, answered);
  return holder;
}

/// Before every change up to the promotion.
void require_lock(Cutover& cutover) {
  if (!cutover.old_is_gone) prove_lock(cutover).get();
}

// ---- looking and deciding

ReplicaSeen seen_as(const ServerSeen& replica, bool promoted_before) {
  if (!replica.seen()) return promoted_before ? promoted : unseen;
  return replica.in_recovery ? standby : promoted;
}

/// Whether the replica alone proves that nothing is missing on it: for when the old primary is gone.
bool has_replayed_fence(Cutover& cutover) {
  if (!cutover.fenced_end) return false;
  try {
    const auto replayed = cutover.servers.new_primary.admin->wal_replayed(cutover.options.call_deadline);
    return replayed && *replayed >= cutover.fenced_end->flush;
  } catch (const Error&) {
    return false;
  }
}

Position position_of(Cutover& cutover, Written written) {
  const Situation& now = look(cutover, Trying::writing, undo_deadline(cutover));
  Position position{.written = written, .replica = seen_as(now.new_primary, cutover.seen_promoted)};
  position.old_seen = now.old_primary.seen();
  position.old_elsewhere = now.old_primary.elsewhere;
  const FenceSeen& fence = now.old_primary.fence;
  position.foreign_fence = fence.any() && fence.whose() != wedge_of(cutover.id);
  position.fence_replayed = !position.old_seen && position.replica == standby && has_replayed_fence(cutover);
  return position;
}

Duration length_of(Patience patience, const Cutover& cutover) {
  const Options& options = cutover.options;
  switch (patience) {
    case Patience::none:
      return Duration::zero();
    case Patience::blind:
      return patience_with_unseen(cutover);
    case Patience::promotion:
      return options.promote_timeout;
  }
  return Duration::zero();
}

/// The row of the table that fits, and still does after its patience.
const RecoveryRow& look_and_decide(Cutover& cutover, Written written, Decision decision) {
  const std::string holder = lock_holder_elsewhere(cutover);
  const RecoveryRow* row = nullptr;
  const auto decided = [&] {
    Position position = position_of(cutover, written);
    position.lock_elsewhere = !holder.empty();
    return &decide(position, decision);
  };
  row = decided();
  for (const RecoveryRow* kept = nullptr; row != kept;) {
    const Duration patience = length_of(row->patience, cutover);
    if (patience == Duration::zero()) break;
    cutover.progress.waits(std::string(row->says));
    kept = row;
    // No stop token: nobody may open a server sooner.
    wait_until(cutover.clock, patience, std::chrono::milliseconds(100), {}, [&] {
      row = decided();
      return row != kept;
    });
  }
  if (!holder.empty()) cutover.warnings.push_back("the cluster's lock is held by " + holder);
  spdlog::info("looked: {}", as_seen(cutover));
  spdlog::info("decided: {}, because {}", to_string(row->action), row->says);
  return *row;
}

// ---- going back

/// Looks once more, right before something opens. Empty when it may; otherwise why not. A replica that was not seen
/// before was allowed for by the table, and is asked once, before the `first` thing opens; one that was seen and does
/// not answer now has to be looked for first.
std::string why_not_open(Cutover& cutover, bool first) {
  Node& replica = *cutover.servers.new_primary.admin;
  const bool seen = cutover.situation->new_primary.seen();
  if (!seen && !first) return "";
  std::string trouble;
  for (int time = seen ? 0 : 1; time < 2; ++time) {
    try {
      const Duration deadline = undo_deadline(cutover);
      const Identity now = replica.is_connected() ? replica.identity(deadline) : replica.fresh_identity(deadline).get();
      if (now.in_recovery) return "";
      const ServerSeen& old = cutover.situation->old_primary;
      if (!old.seen() || old.system_identifier != now.system_identifier || old.started_at != now.started_at) {
        note_promotion(cutover);
        return "the replica was promoted meanwhile";
      }
      trouble = "its name leads to the old primary";
    } catch (const Error& error) {
      trouble = error.what();
      replica.disconnect();
    }
  }
  return seen ? "the replica is not seen any more: " + trouble : "";
}

/// Undoes them one by one, as long as the old primary may open. Returns those that are left; `why` says why.
std::vector<Begun> undo_each(Cutover& cutover, Journal& journal, const std::vector<Begun>& entries, Outcome& outcome,
                             std::string& why) {
  std::vector<Begun> left;
  for (auto entry = entries.begin(); entry != entries.end(); ++entry) {
    if (const std::string closed = why_not_open(cutover, entry == entries.begin()); !closed.empty()) {
      add_trouble(why, closed);
      left.insert(left.end(), entry, entries.end());
      return left;
    }
    const Step& step = *entry->step;
    try {
      perform(cutover, outcome, step, "undo", StepResult::undone, [&] {
        const std::size_t warned = cutover.warnings.size();
        step.undo(cutover, entry->before);
        return std::string(cutover.warnings.size() == warned ? "as before" : "not all as before: see the warning");
      });
      try_to_record(cutover, [&] { journal.undone(step.name); });
    } catch (const std::exception& failure) {
      add_trouble(why, fmt::format("{}: {}", step.name, failure.what()));
      left.push_back(*entry);
    }
  }
  return left;
}

/// Undoes in reverse. Returns what could not be undone, empty when all was.
std::string undo_all(Cutover& cutover, Journal& journal, const std::vector<Begun>& begun, Outcome& outcome) {
  try {
    journal.undoing();
  } catch (const Error& error) {
    // Without this record a recovery would rely on the fence that an order to promote was given behind.
    if (ordered_to_promote(begun)) return error.what();
    cutover.warnings.push_back(fmt::format("the journal is incomplete: {}", error.what()));
  }
  std::vector<Begun> left(begun.rbegin(), begun.rend());
  std::erase_if(left, [](const Begun& entry) { return entry.step->undo == nullptr; });
  std::string why;
  const bool stood = cutover.writes_stopped && !cutover.recovering && !cutover.writes_resumed;
  left = undo_each(cutover, journal, left, outcome, why);
  if (left.empty() || !stood || cutover.seen_promoted) return why;
  // Again, with more time. Not the drivers that were told, because they had their full time.
  const auto driver = [](const Begun& entry) { return entry.step == &step_named("stop_traffic"); };
  const bool told = cutover.writes_resumed && std::erase_if(left, driver) > 0;
  why = told ? "stop_traffic: the application was not resumed: see the warnings" : "";
  undo_each(cutover, journal, left, outcome, why);
  return why;
}

/// The old primary may take writes that the new one will not have: no client may get in any more. Throws
/// Error(undecided) when that cannot be done.
void fence_old_again(Cutover& cutover, Journal& journal, std::vector<Begun>& begun) {
  try {
    require_lock(cutover);
    const Step& arm = step_named("arm_fence");
    const Step& raise = step_named("fence");
    if (!cutover.plan) {
      nlohmann::json before = arm.before(cutover);
      journal.begin(arm.name, before);
      begun.push_back({&arm, std::move(before)});
    }
    if (std::ranges::find(begun, &raise, &Begun::step) == begun.end()) {
      journal.begin(raise.name, {});
      begun.push_back({&raise, {}});
    }
    raise_fence_again(cutover);
  } catch (const std::exception& failure) {
    throw Error(ErrorCode::undecided,
                fmt::format("the replica is a primary now, and the old primary cannot be fenced: {}", failure.what()),
                "stop the old primary, or the new one, by hand: both may take writes");
  }
}

/// The end of a cutover that goes back no further: what stands in the way is told, and what is known is kept.
void ask_a_person(Cutover& cutover, Journal& journal, std::vector<Begun>& begun, const RecoveryRow& row,
                  const Error& cause, Outcome& outcome) {
  std::string hint(row.hint), trouble;
  if (row.action == Action::fence_and_ask) {
    try {
      fence_old_again(cutover, journal, begun);
    } catch (const Error& error) {
      trouble = fmt::format("; {}", error.what());
      hint = error.hint();
    }
    look(cutover);
  }
  conclude(outcome, ErrorCode::undecided,
           fmt::format("{}: {}{} ({})", row.says, as_seen(cutover), trouble, cause.what()), hint);
}

/// The servers were switched over since: what is there is looked at as it is, and stays.
void settle(Cutover& cutover, const std::vector<Begun>& begun, const RecoveryRow& row, Outcome& outcome) {
  for (Node* const node : {cutover.servers.old_primary.admin.get(), cutover.servers.old_primary.application.get()}) {
    node->refuse_strangers({});
  }
  std::vector<std::string_view> names;
  for (const Begun& entry : begun) names.push_back(entry.step->name);
  cutover.warnings.push_back(fmt::format("nothing of this cutover was undone, look whether something of it is left: {}",
                                         fmt::join(names, ", ")));
  conclude(outcome, ErrorCode::undone, std::string(row.says), "agent status shows both servers");
}

/// The end of a cutover that does not go forward: back, or no further. `cause`: why.
void go_back(Cutover& cutover, Journal& journal, std::vector<Begun>& begun, const RecoveryRow& row, const Error& cause,
             Outcome& outcome) {
  if (row.action == Action::settle) return settle(cutover, begun, row, outcome);
  if (row.action != Action::undo) return ask_a_person(cutover, journal, begun, row, cause, outcome);
  require(!cutover.situation->new_primary.promoted(), "the old primary is not opened beside a new one");
  if (!cutover.situation->new_primary.seen()) {
    cutover.warnings.push_back(
        fmt::format("{} was not seen before the old primary was opened again: if somebody has promoted it, stop it "
                    "before it can be reached",
                    cutover.situation->new_primary.address));
  }
  const std::string left = undo_all(cutover, journal, begun, outcome);
  if (cutover.seen_promoted) {
    const RecoveryRow& now = look_and_decide(cutover, undoing, Decision::by_looking);
    return ask_a_person(cutover, journal, begun, now, cause, outcome);
  }
  if (!left.empty()) {
    return conclude(outcome, ErrorCode::undecided, fmt::format("{}; not undone: {}", cause.what(), left), cause.hint());
  }
  if (cause.code() == ErrorCode::sync_timeout && cutover.attempts.empty()) {  // writes were never stopped
    return conclude(outcome, ErrorCode::sync_timeout, cause.what(), cause.hint());
  }
  conclude(outcome, ErrorCode::undone, cause.what(), cause.hint());
}

/// Decides what a failure means, by how far the cutover had come. `no_way_back`: an order to promote may be on its way.
void conclude_failure(Cutover& cutover, Journal* journal, std::vector<Begun>& begun, Written written,
                      const Error& error, bool no_way_back, Outcome& outcome) {
  if (outcome.promoted) {
    conclude(outcome, ErrorCode::unfinished, std::string("promoted, but then: ") + error.what(), error.hint());
  } else if (journal == nullptr) {
    conclude(outcome, error.code(), error.what(), error.hint());
  } else if (error.code() == ErrorCode::undecided || no_way_back) {
    conclude(outcome, ErrorCode::undecided, error.what(), error.hint());
  } else {
    try {
      go_back(cutover, *journal, begun, look_and_decide(cutover, written, Decision::by_looking), error, outcome);
    } catch (const std::exception& failure) {
      conclude(outcome, ErrorCode::undecided, fmt::format("{}; not undone: {}", error.what(), failure.what()));
    }
  }
}

/// After the last step: the new primary is open, but the application may still have to be told.
void require_resumed(const Cutover& cutover, const Outcome& outcome) {
  if (!outcome.promoted || cutover.still_paused.empty()) return;
  throw Error(ErrorCode::unfinished, "the application was not resumed: " + cutover.still_paused,
              "agent recover tries again");
}

// ---- going forward

void mark_promoted(Cutover& cutover, Outcome& outcome) {
  outcome.promoted = true;
  cutover.on_seen_promoted = {};
  cutover.progress.promoted();
}

/// Takes one step: looks whether it is wanted to stop, keeps the journal, notes what undo needs.
void take(Cutover& cutover, const Step& step, Journal* journal, std::vector<Begun>& begun, Outcome& outcome) {
  if (cutover.stop.stop_requested() && !outcome.promoted) throw Error(ErrorCode::undone, "interrupted");
  if (cutover.on_step) cutover.on_step(step);
  // That of the promotion is proved together with the last byte.
  if (step.mutates && !step.commits && !outcome.promoted) require_lock(cutover);
  const auto known = std::ranges::find(begun, &step, &Begun::step);
  const bool again = known != begun.end();
  // What was there before is what was there before the first time. Only the proof that an order to promote rests on is
  // made anew, and written down anew.
  if (again && step.commits) begun.erase(known);
  if (step.mutates && (step.commits || !again)) {
    nlohmann::json before = step.before == nullptr ? nlohmann::json() : step.before(cutover);
    if (outcome.promoted || again) {
      try_to_record(cutover, [&] { journal->begin(step.name, before, !outcome.promoted); });
    } else {
      journal->begin(step.name, before);
    }
    begun.push_back({&step, std::move(before)});
  }
  perform(cutover, outcome, step, step.why, StepResult::done, [&] { return step.run(cutover); });
  if (step.commits) mark_promoted(cutover, outcome);
  if (step.mutates) journal->done(step.name, outcome.steps.back().evidence);
}

/// The end of a rehearsal: everything is as before, or it is an ordinary failure.
void end_rehearsal(Cutover& cutover, Journal& journal, std::vector<Begun>& begun, Outcome& outcome) {
  go_back(cutover, journal, begun, look_and_decide(cutover, Written::begun, Decision::by_looking),
          Error(ErrorCode::undone, "the rehearsal has come to its end"), outcome);
  outcome.rehearsed = outcome.exit_code == error_row(ErrorCode::undone).exit_code;
}

auto promotion() {
  return std::ranges::find_if(steps(), [](const Step& step) { return step.commits; });
}

auto first_change() {
  return std::ranges::find_if(steps(), [](const Step& step) { return step.mutates; });
}

/// One walk through the table, from `first` on.
template <typename StepIterator>
void walk(Cutover& cutover, StepIterator first, const OpenJournal& open_journal, std::unique_ptr<Journal>& journal,
          std::vector<Begun>& begun, Outcome& outcome) {
  for (auto step = first; step != steps().end(); ++step) {
    if (step->commits && cutover.options.rehearsal) return end_rehearsal(cutover, *journal, begun, outcome);
    if (step->mutates && !journal) {
      require_lock(cutover);
      journal = open_journal(cutover);
      record_promotions_in(cutover, *journal);
    }
    take(cutover, *step, journal.get(), begun, outcome);
  }
  require_resumed(cutover, outcome);
}

/// Whether it failed because the pause was, or would have become, too long: every wait behind the stopped application
/// has a part of its budget.
bool paused_too_long(const Cutover& cutover, const Error& error) {
  if (!cutover.writes_stopped || cutover.stop.stop_requested()) return false;
  return error.code() == ErrorCode::pause_exceeded || error.code() == ErrorCode::timeout;
}

/// What an attempt has found out does not hold for the next one.
void forget_attempt(Cutover& cutover, const std::string& message) {
  Attempt attempt{message, std::nullopt, cutover.progress.standing().steps.size()};
  if (cutover.writes_resumed) attempt.paused = *cutover.writes_resumed - *cutover.writes_stopped;
  cutover.attempts.push_back(std::move(attempt));
  cutover.progress.says(fmt::format("attempt {} was undone: {}", cutover.attempts.size(), message));
  cutover.writes_stopped = cutover.writes_resumed = std::nullopt;
  cutover.fence.reset();
  cutover.fenced_end.reset();
  cutover.proved_at.reset();
  cutover.plan.reset();
}

/// What the exit code says is what is seen: a server may have died after it was proved to take writes.
void hold_to_what_is_seen(const Cutover& cutover, Outcome& outcome) {
  const bool done = outcome.exit_code == 0 && outcome.promoted;
  if (!done && outcome.exit_code != error_row(ErrorCode::undone).exit_code) return;
  const ServerSeen& open = done ? cutover.situation->new_primary : cutover.situation->old_primary;
  if (open.seen() && open.takes_writes != false) return;
  const std::string trouble = open.seen() ? "takes no writes: " + open.refusal : "cannot be seen: " + open.unseen;
  conclude(outcome, done ? ErrorCode::unfinished : ErrorCode::undecided,
           fmt::format("{}, but in the end {} {}", done ? "promoted" : "undone", open.address, trouble),
           "bring it back; the guard, or agent recover, looks again");
}

/// What is told about the servers is what is seen in the end.
void end(Cutover& cutover, Journal& journal, Outcome& outcome) {
  try {
    look(cutover);
    hold_to_what_is_seen(cutover, outcome);
  } catch (const std::exception& failure) {  // the machine has no threads or no memory left
    conclude(outcome, outcome.promoted ? ErrorCode::unfinished : ErrorCode::undecided,
             fmt::format("in the end the servers could not be looked at: {}", failure.what()));
  }
  if (outcome.rehearsed && outcome.exit_code == error_row(ErrorCode::undone).exit_code) {
    outcome.exit_code = 0;
    outcome.name = "rehearsed";
    outcome.message = "everything but the promotion was done for real, and undone";
  }
  try_to_record(cutover, [&] { journal.end(outcome.exit_code); });
  cutover.on_seen_promoted = {};
  if (!needs_recovery(outcome.exit_code)) take_marker_away(cutover);
}

// ---- recovery

bool settles(const JournalRecord& record) {
  return record.record == "end" && !needs_recovery(record.fields.value("exit_code", 0));
}

/// How far the journal has come. An undo that began after the last order to promote may have opened the old primary. A
/// promotion that was seen and not ordered counts like an order with such an undo.
Written written_in(const std::vector<JournalRecord>& records) {
  bool order = false, undo = false;
  for (const JournalRecord& record : records) {
    const bool forward = record.record == "accepted" || (record.record == "begin" && record.step == promotion()->name);
    if (record.record == "again") order = undo = false;
    if (record.record == "undoing" || (record.record == "seen_promoted" && !order)) undo = true;
    if (forward || record.record == "seen_promoted") order = true;
    if (forward) undo = false;
  }
  if (undo) return order ? undoing_after_order : undoing;
  return order ? ordered : Written::begun;
}

/// The steps that may have changed something, in order, with what was there before.
std::vector<Begun> begun_in(Cutover& cutover, const std::vector<JournalRecord>& records) {
  std::vector<Begun> begun;
  for (const JournalRecord& record : records) {
    if (record.record == "again") begun.clear();
    if (record.record != "begin") continue;
    const auto step = std::ranges::find(steps(), record.step, &Step::name);
    if (step == steps().end()) {
      throw Error(ErrorCode::file_failed, fmt::format("the journal names an unknown step \"{}\"", record.step),
                  "use the program that wrote it");
    }
    std::erase_if(begun, [&](const Begun& entry) { return entry.step == &*step; });  // the last order counts
    begun.push_back({&*step, record.fields.value("before", nlohmann::json())});
    if (step->recall == nullptr) continue;
    try {
      step->recall(cutover, begun.back().before);
    } catch (const nlohmann::json::exception& failure) {
      throw Error(ErrorCode::file_failed,
                  fmt::format("the journal's record of {} makes no sense: {}", step->name, failure.what()),
                  "look at both servers by hand: agent status");
    }
  }
  return begun;
}

/// Another cluster may answer at the same address by now. A server that does not answer is none of this one's business.
void refuse_other_clusters(const Cutover& cutover) {
  for (const ServerSeen* const server : {&cutover.situation->old_primary, &cutover.situation->new_primary}) {
    if (!server->seen() || server->system_identifier == cutover.system_identifier) continue;
    throw Error(ErrorCode::configuration,
                fmt::format("{} belongs to cluster {}, the journal is about {}", server->address,
                            server->system_identifier, cutover.system_identifier),
                "give recover the same PRIMARY_* and REPLICA_* as the cutover had");
  }
}

/// One recovery: the way forward of a row of the table.
struct Recovery {
  Cutover& cutover;
  Journal& journal;
  std::vector<Begun>& begun;
  Outcome& outcome;
  bool order_counts;  // a promotion was ordered, and the fence has stood since

  /// Every step is safe to be taken twice; what was there before the first time is in the journal.
  template <typename StepIterator>
  void walk_from(StepIterator first) {
    for (auto step = first; step != steps().end(); ++step) {
      try {
        take(cutover, *step, &journal, begun, outcome);
      } catch (const std::exception&) {
        // An order of the agent that died may be carried out at any moment. It was given after the proof, and the fence
        // has stood since: nothing that comes before the promotion matters any more.
        if (!order_counts || outcome.promoted || !look(cutover).new_primary.promoted()) throw;
        finish(false);
        return;
      }
    }
    require_resumed(cutover, outcome);
  }

  void finish(bool refence) {
    const ServerSeen& old = cutover.situation->old_primary;
    if (refence || (old.seen() && old.takes_writes != false)) {
      if (!old.seen()) {
        throw Error(ErrorCode::undecided, "the old primary cannot be seen, and may take writes: " + old.unseen,
                    "bring it back into reach, or stop it for good");
      }
      const bool was_open = old.takes_writes == true;
      fence_old_again(cutover, journal, begun);
      cutover.warnings.push_back(
          fmt::format("the old primary {} open beside the new one, so the new one lacks what it has written since it "
                      "was first fenced",
                      was_open ? "was" : "may have been"));
    }
    if (!order_counts) journal.accepted();
    mark_promoted(cutover, outcome);
    walk_from(std::next(promotion()));
  }

  void act(const RecoveryRow& row) {
    switch (row.action) {
      case Action::forward:
        return walk_from(first_change());
      case Action::finish:
        return finish(false);
      case Action::fence_and_finish:
        return finish(true);
      case Action::promote_alone:
        cutover.old_is_gone = true;
        return walk_from(promotion());
      case Action::undo:
      case Action::settle:
      case Action::fence_and_ask:
      case Action::hold:
        return go_back(cutover, journal, begun, row, Error(ErrorCode::undone, "the agent that began it has died"),
                       outcome);
    }
  }
};

}  // namespace

std::future<void> prove_lock(Cutover& cutover) {
  Node& lock = *cutover.servers.lock;
  // Not less than a second: a lock that is thought lost costs the cutover.
  const Duration deadline =
      std::min(cutover.options.call_deadline, std::max<Duration>(call_deadline(cutover), std::chrono::seconds(1)));
  return std::async(lock.beside(), [&lock, deadline] {
    bool held = false;
    try {
      held = lock.holds_lock(deadline);
    } catch (const Error&) {
      lock.disconnect();
    }
    if (!held) throw Error(ErrorCode::connection_lost, "the session that holds the cluster's lock has ended");
  });
}

std::string_view to_string(StepResult result) {
  constexpr std::string_view names[] = {"done", "failed", "undone", "looked"};
  return names[static_cast<int>(result)];
}

Outcome run_cutover(Cutover& cutover, const OpenJournal& open_journal) {
  Outcome outcome;
  std::unique_ptr<Journal> journal;
  std::vector<Begun> begun;
  auto first = steps().begin();
  for (int attempt = 1;; ++attempt) {
    bool again = false;
    try {
      walk(cutover, first, open_journal, journal, begun, outcome);
    } catch (const std::exception& failure) {
      const Error error = as_error(failure);
      again = attempt < cutover.options.attempts && paused_too_long(cutover, error);
      conclude_failure(cutover, journal.get(), begun, Written::begun, error, false, outcome);
      again = again && outcome.exit_code == error_row(ErrorCode::undone).exit_code;
    }
    if (!again) break;
    try_to_record(cutover, [&] { journal->again(); });
    forget_attempt(cutover, outcome.message);
    begun.clear();
    Outcome anew;
    anew.steps = std::move(outcome.steps);
    outcome = std::move(anew);
    first = std::ranges::find(steps(), "wait_sync", &Step::name);
  }
  if (journal) {
    end(cutover, *journal, outcome);
  } else {
    look(cutover, Trying::asking);
  }
  return outcome;
}

bool settled(const std::vector<JournalRecord>& records) { return std::ranges::any_of(records, settles); }

const RecoveryRow& recovery_for(Cutover& cutover, const std::vector<JournalRecord>& records, Decision decision) {
  begun_in(cutover, records);
  refuse_strangers(cutover.servers, cutover.old_timeline);
  Position position = position_of(cutover, written_in(records));
  refuse_other_clusters(cutover);
  try {
    position.lock_elsewhere = !cutover.servers.old_primary.admin->lock_holder(cutover.options.call_deadline).empty();
  } catch (const Error&) {  // the situation says that it is not seen
  }
  return decide(position, decision);
}

Outcome recover(Cutover& cutover, Journal& journal, const std::vector<JournalRecord>& records, Decision decision) {
  Outcome outcome;
  if (settled(records)) {
    outcome.message = "nothing to recover: that cutover has come to its end";
    look(cutover);
    return outcome;
  }
  cutover.recovering = true;
  refuse_strangers(cutover.servers, cutover.old_timeline);
  record_promotions_in(cutover, journal);
  std::vector<Begun> begun = begun_in(cutover, records);
  look(cutover);
  refuse_other_clusters(cutover);
  const Written written = written_in(records);
  Recovery recovery{cutover, journal, begun, outcome, written == ordered};
  try {
    recovery.act(look_and_decide(cutover, written, decision));
  } catch (const std::exception& failure) {
    conclude_failure(cutover, &journal, begun, written, as_error(failure),
                     written == ordered && decision != Decision::abort, outcome);
  }
  end(cutover, journal, outcome);
  return outcome;
}

Outcome dry_run(Cutover& cutover) {
  Outcome outcome;
  try {
    for (const Step& step : steps()) {
      if (cutover.stop.stop_requested()) throw Error(ErrorCode::undone, "interrupted");
      perform(cutover, outcome, step, step.why, step.in_dry_run ? StepResult::done : StepResult::previewed,
              [&] { return step.in_dry_run ? step.run(cutover) : step.preview(cutover); });
    }
  } catch (const std::exception& failure) {
    const Error error = as_error(failure);
    conclude(outcome, error.code(), error.what(), error.hint());
  }
  if (outcome.exit_code == 0) {
    cutover.prediction = try_predict(cutover);
    if (const std::string why = too_long(cutover); !why.empty()) {
      conclude(outcome, ErrorCode::sync_timeout, why, "--max-write-pause allows a longer one");
    }
  }
  look(cutover, Trying::asking);
  return outcome;
}

}  // namespace pgrm::agent
