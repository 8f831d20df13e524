#include "agent/engine/cutover.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "core/base/error.h"
#include "core/base/wait.h"

namespace pgrm::agent {
namespace {

struct Begun {
  const Step* step;
  nlohmann::json before;
};

/// A surprise (a bug, no memory) must be undone like any other failure.
Error as_error(const std::exception& failure) {
  const auto* const error = dynamic_cast<const Error*>(&failure);
  return error != nullptr ? *error : Error(ErrorCode::internal, failure.what());
}

/// One walk through a piece of work that a person watches: timed, shown, logged and put into the outcome.
void perform(Cutover& cutover, Outcome& outcome, const Step& step, std::string_view why, std::string_view result,
             const std::function<std::string()>& work) {
  spdlog::info("{}: {}", step.name, why);
  cutover.progress.begins(step.name, why, result == "undone" ? "undo" : step.name);
  const Mono start = cutover.clock.now();
  const auto ends = [&](std::string_view end, const std::string& evidence) {
    const Duration took = cutover.clock.now() - start;
    outcome.steps.push_back({&step, took, std::string(end), evidence});
    cutover.progress.writes(cutover.writes_stopped, cutover.writes_resumed);
    cutover.progress.ends(end, took, evidence);
    spdlog::info("{}: {}, {} ({})", step.name, end, evidence, human(took));
  };
  try {
    ends(result, work());
  } catch (const std::exception& failure) {
    ends("failed", failure.what());
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

/// Undoes in reverse. Returns what could not be undone, empty when all was.
std::string undo_all(Cutover& cutover, Journal& journal, const std::vector<Begun>& begun, Outcome& outcome) {
  try {
    journal.undoing();
  } catch (const Error& error) {
    // Without this record a recovery would rely on the fence that an order to promote was given behind.
    if (ordered_to_promote(begun)) return error.what();
    cutover.warnings.push_back(fmt::format("the journal is incomplete: {}", error.what()));
  }
  std::string left;
  for (auto entry = begun.rbegin(); entry != begun.rend(); ++entry) {
    const Step& step = *entry->step;
    if (step.undo == nullptr) continue;
    try {
      perform(cutover, outcome, step, "undo", "undone", [&] {
        step.undo(cutover, entry->before);
        return std::string("as before");
      });
      try_to_record(cutover, [&] { journal.undone(step.name); });
    } catch (const std::exception& failure) {
      left += fmt::format("{}: {}; ", step.name, failure.what());
    }
  }
  return left;
}

void conclude(Outcome& outcome, ErrorCode code, const std::string& message, const std::string& hint) {
  const ErrorRow& row = error_row(code);
  outcome.exit_code = row.exit_code;
  outcome.name = row.name;
  outcome.message = message;
  outcome.hint = hint.empty() ? std::string(row.hint) : hint;
}

/// Decides what a failure means, by how far the cutover had come. `no_way_back`: an order to promote may be on its way.
void conclude_failure(Cutover& cutover, Journal* journal, const std::vector<Begun>& begun, const Error& error,
                      bool no_way_back, Outcome& outcome) {
  if (outcome.promoted) {
    conclude(outcome, ErrorCode::unfinished, std::string("promoted, but then: ") + error.what(), error.hint());
  } else if (error.code() == ErrorCode::undecided || no_way_back) {
    conclude(outcome, ErrorCode::undecided, error.what(), error.hint());
  } else if (journal == nullptr) {
    conclude(outcome, error.code(), error.what(), error.hint());
  } else if (const std::string left = undo_all(cutover, *journal, begun, outcome); left.empty()) {
    conclude(outcome, ErrorCode::undone, std::string("undone, because: ") + error.what(), error.hint());
  } else {
    conclude(outcome, ErrorCode::undecided, fmt::format("{}; not undone: {}", error.what(), left), {});
  }
}

/// After the last step: the new primary is open, but somebody still has to let the application go on.
void require_resumed(const Cutover& cutover, const Outcome& outcome) {
  if (!outcome.promoted || cutover.still_paused.empty()) return;
  throw Error(ErrorCode::unfinished, "the application was not resumed: " + cutover.still_paused,
              "agent recover tries again");
}

/// Takes one step: looks whether it is wanted to stop, keeps the journal, notes what undo needs.
void take(Cutover& cutover, const Step& step, Journal* journal, std::vector<Begun>& begun, Outcome& outcome) {
  if (cutover.stop.stop_requested() && !outcome.promoted) throw Error(ErrorCode::undone, "interrupted");
  if (cutover.on_step) cutover.on_step(step);
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
  perform(cutover, outcome, step, step.why, "done", [&] { return step.run(cutover); });
  if (step.commits) {
    outcome.promoted = true;
    cutover.progress.promoted();
  }
  if (step.mutates) journal->done(step.name, outcome.steps.back().evidence);
}

/// The end of a rehearsal: everything is as before, or it is an ordinary failure.
void end_rehearsal(Cutover& cutover, Journal& journal, const std::vector<Begun>& begun, Outcome& outcome) {
  if (const std::string left = undo_all(cutover, journal, begun, outcome); !left.empty()) {
    conclude(outcome, ErrorCode::undecided, "rehearsed, but not undone: " + left, {});
    return;
  }
  outcome.name = "rehearsed";
  outcome.message = "everything but the promotion was done for real, and undone";
}

// ---- recovery

bool settles(const JournalRecord& record) {
  const int code = record.fields.value("exit_code", 0);
  return record.record == "end" && code != error_row(ErrorCode::unfinished).exit_code &&
         code != error_row(ErrorCode::undecided).exit_code;
}

auto promotion() {
  return std::ranges::find_if(steps(), [](const Step& step) { return step.commits; });
}

/// Whether an undo was begun after the last order to promote: then the old primary may have been opened since.
bool was_undoing(const std::vector<JournalRecord>& records) {
  bool undoing = false;
  for (const JournalRecord& record : records) {
    if (record.record == "undoing") undoing = true;
    if (record.record == "begin" && record.step == promotion()->name) undoing = false;
  }
  return undoing;
}

/// The steps that may have changed something, in order, with what was there before.
std::vector<Begun> begun_in(Cutover& cutover, const std::vector<JournalRecord>& records) {
  std::vector<Begun> begun;
  for (const JournalRecord& record : records) {
    if (record.record != "begin") continue;
    const auto step = std::ranges::find(steps(), record.step, &Step::name);
    if (step == steps().end()) {
      throw Error(ErrorCode::file_failed, fmt::format("the journal names an unknown step \"{}\"", record.step),
                  "use the program that wrote it");
    }
    std::erase_if(begun, [&](const Begun& entry) { return entry.step == &*step; });  // the last order counts
    begun.push_back({&*step, record.fields.value("before", nlohmann::json())});
    try {
      recall(cutover, step->name, begun.back().before);
    } catch (const nlohmann::json::exception& failure) {
      throw Error(ErrorCode::file_failed,
                  fmt::format("the journal's record of {} makes no sense: {}", step->name, failure.what()),
                  "look at both servers by hand: agent status");
    }
  }
  return begun;
}

/// Another cluster may answer at the same address by now. A server that does not answer is none of this one's business.
void refuse_other_clusters(Cutover& cutover) {
  for (Server* const server : {&cutover.servers.primary, &cutover.servers.replica}) {
    std::string observed;
    try {
      observed = server->admin->identity(cutover.options.call_deadline).system_identifier;
    } catch (const Error&) {
      continue;
    }
    if (observed != cutover.system_identifier) {
      throw Error(ErrorCode::configuration,
                  fmt::format("{} belongs to cluster {}, the journal is about {}", server->admin->describe(), observed,
                              cutover.system_identifier),
                  "give recover the same PRIMARY_* and REPLICA_* as the cutover had");
    }
  }
}

/// Looks at the replica; with `patient`, for as long as a promotion may take. Throws Error(undecided) when it cannot be
/// seen.
bool was_promoted(Cutover& cutover, bool patient) {
  bool promoted = false;
  try {
    const auto left_recovery = [&] {
      promoted = !cutover.servers.replica.admin->in_recovery(cutover.options.call_deadline);
      return promoted;
    };
    wait_until(cutover.clock, patient ? cutover.options.promote_timeout : Duration::zero(),
               std::chrono::milliseconds(100), cutover.stop, left_recovery);
  } catch (const Error& error) {
    throw Error(ErrorCode::undecided,
                fmt::format("a promotion was ordered, and the replica cannot be seen: {}", error.what()));
  }
  return promoted;
}

/// Whether the replica alone proves that nothing is missing on it: for when the old primary is gone.
bool has_replayed_fence(Cutover& cutover) {
  const auto replayed = cutover.servers.replica.admin->wal_replayed(cutover.options.call_deadline);
  return cutover.fenced_end && replayed && *replayed >= cutover.fenced_end->flush;
}

/// The order to promote was carried out after an undo had begun: both servers may have taken writes. The old one is
/// fenced again; which of the two is right only a person can say. Throws Error(undecided) unless he has.
void require_decision(Cutover& cutover, Decision decision) {
  if (!cutover.plan) throw Error(ErrorCode::undecided, "what was fenced is not known: the journal has no fence");
  try {
    cutover.servers.primary.admin->alter_system(fenced_overrides(), cutover.options.call_deadline);
    cutover.fence =
        raise_fence(cutover.servers.primary, *cutover.plan, true, cutover.clock, cutover.options.drain_timeout);
    prove_layers(cutover.servers.primary, *cutover.plan, cutover.id, cutover.options.call_deadline);
    require_repulsed(*cutover.fence, *cutover.plan);
  } catch (const Error& error) {
    throw Error(ErrorCode::undecided,
                fmt::format("the replica was promoted after the old primary was opened again, and that one cannot be "
                            "fenced: {}",
                            error.what()));
  }
  if (decision == Decision::complete) {
    cutover.warnings.emplace_back("what the old primary has written since the undo began is not on the new one");
    return;
  }
  throw Error(
      ErrorCode::undecided,
      "the replica was promoted after an undo had begun: the old primary, which is fenced again, may have taken "
      "writes that the new one does not have",
      "compare the two; agent recover --complete goes on with the new one, without those writes");
}

bool answers(Server& server, Duration deadline) {
  try {
    server.admin->in_recovery(deadline);
    return true;
  } catch (const Error&) {
    return false;
  }
}

auto first_change() {
  return std::ranges::find_if(steps(), [](const Step& step) { return step.mutates; });
}

}  // namespace

Outcome run_cutover(Cutover& cutover, const OpenJournal& open_journal) {
  Outcome outcome;
  std::unique_ptr<Journal> journal;
  std::vector<Begun> begun;
  try {
    for (const Step& step : steps()) {
      if (step.commits && cutover.options.rehearsal) {
        end_rehearsal(cutover, *journal, begun, outcome);
        break;
      }
      if (step.mutates && !journal) journal = open_journal(cutover);
      take(cutover, step, journal.get(), begun, outcome);
    }
    require_resumed(cutover, outcome);
  } catch (const std::exception& failure) {
    conclude_failure(cutover, journal.get(), begun, as_error(failure), false, outcome);
  }
  if (journal) try_to_record(cutover, [&] { journal->end(outcome.exit_code); });
  return outcome;
}

bool settled(const std::vector<JournalRecord>& records) { return std::ranges::any_of(records, settles); }

Outcome recover(Cutover& cutover, Journal& journal, const std::vector<JournalRecord>& records, Decision decision) {
  Outcome outcome;
  if (settled(records)) {
    outcome.message = "nothing to recover: that cutover has come to its end";
    return outcome;
  }
  cutover.recovering = true;
  std::vector<Begun> begun = begun_in(cutover, records);
  refuse_other_clusters(cutover);
  const auto commit = promotion();
  const bool ordered = ordered_to_promote(begun);
  const bool undoing = was_undoing(records);
  const bool binding = ordered && !undoing;  // may still be carried out, and the fence has stood since
  auto first = first_change();
  const auto goes_forward = [&] {
    if (undoing) require_decision(cutover, decision);
    outcome.promoted = true;
    cutover.progress.promoted();
  };
  try {
    if (ordered) {
      // Going back is patient: the order may still be on its way. Going forward may be repeated.
      if (was_promoted(cutover, undoing || decision == Decision::abort)) {
        goes_forward();
        first = std::next(commit);
      } else if (decision == Decision::complete && !undoing &&
                 !answers(cutover.servers.primary, cutover.options.call_deadline) && has_replayed_fence(cutover)) {
        first = commit;
      }
    }
    const bool forward =
        outcome.promoted || decision == Decision::complete || (binding && decision == Decision::by_looking);
    if (!forward) throw Error(ErrorCode::undone, "the agent that began it has died");
    // Every step is safe to be taken twice; what was there before the first time is in the journal.
    for (auto step = first; step != steps().end(); ++step) {
      try {
        take(cutover, *step, &journal, begun, outcome);
      } catch (const std::exception&) {
        // An order of the agent that died may be carried out at any moment. It was given after the proof, and the fence
        // has stood since: nothing that comes before the promotion matters any more.
        if (!ordered || outcome.promoted || !was_promoted(cutover, false)) throw;
        goes_forward();
        step = commit;
      }
    }
    require_resumed(cutover, outcome);
  } catch (const std::exception& failure) {
    conclude_failure(cutover, &journal, begun, as_error(failure), binding && decision != Decision::abort, outcome);
  }
  try_to_record(cutover, [&] { journal.end(outcome.exit_code); });
  return outcome;
}

Outcome dry_run(Cutover& cutover) {
  Outcome outcome;
  try {
    for (const Step& step : steps()) {
      if (cutover.stop.stop_requested()) throw Error(ErrorCode::undone, "interrupted");
      perform(cutover, outcome, step, step.why, step.in_dry_run ? "done" : "looked",
              [&] { return step.in_dry_run ? step.run(cutover) : step.look(cutover).text; });
    }
  } catch (const Error& error) {
    conclude(outcome, error.code(), error.what(), error.hint());
  }
  return outcome;
}

}  // namespace pgrm::agent
