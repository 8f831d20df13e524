#include "agent/plan/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "agent/plan/imagined_means.h"
#include "core/base/error.h"
#include "core/base/wait.h"
#include "core/pg/imagined.h"

namespace pgrm::agent {
namespace {

/// Nothing is written down: nothing happens.
class NoFile final : public JournalFile {
 public:
  void append(const std::string&, bool) override {}
};

std::string on_one_line(const std::string& sql) {
  std::istringstream words(sql);
  std::string line;
  for (std::string word; words >> word;) line += (line.empty() ? "" : " ") + word;
  return line;
}

/// Where orders go that are given now.
struct Place {
  std::string step;  // empty: after the last one
  bool undo = false;
};

Place place_of(const Standing& standing, const std::string& begun) {
  if (standing.steps.empty()) return {begun, false};
  const StepStanding& last = standing.steps.back();
  const bool ended = !last.result.empty();
  if (standing.phase == "undo") return {ended ? std::string() : last.name, true};
  return {ended && last.name == steps().back().name ? std::string() : begun, false};
}

/// One walk of the engine through its table.
struct Walk {
  std::map<std::string, std::vector<PlannedOrder>, std::less<>> orders, undo;  // by step
  std::vector<PlannedOrder> afterwards;
  Outcome outcome;
};

/// What nobody waits for in a plan, and what can be done once.
Options without_waits(Options options) {
  options.window.reset();
  options.wait_for_transactions = Duration::zero();
  options.attempts = 1;
  options.warm = false;
  return options;
}

/// The one before has let the cluster's lock go, and the server may not have noticed yet. An agent that has it is found
/// by the checks.
void await_lock(const Cutover& planned) {
  planned.servers.lock->disconnect();
  wait_until(planned.clock, std::chrono::seconds(2), std::chrono::milliseconds(10), planned.stop,
             [&] { return planned.servers.old_primary.admin->lock_holder(planned.options.call_deadline).empty(); });
}

Walk walk(const Cutover& planned, bool rehearsal, const MakeCast& make_cast) {
  await_lock(planned);
  Walk walk;
  Options options = without_waits(planned.options);
  options.rehearsal = rehearsal;
  Progress progress(nullptr, false, false);
  std::string begun;
  const auto order = [&](PlannedOrder given) {
    const Place place = place_of(progress.standing(), begun);
    auto& steps = place.undo ? walk.undo : walk.orders;
    (place.step.empty() ? walk.afterwards : steps[place.step]).push_back(std::move(given));
  };
  Cast cast = make_cast();
  ImaginedPair pair(options.pair.old_primary.address(), options.pair.new_primary.address(),
                    [&](const GivenOrder& given) {
                      order({given.server, given.name, on_one_line(given.sql), given.parameters});
                    });
  imagine(cast.servers, pair);
  Traffics traffic = imagine(std::move(cast.traffic), order);
  const auto control = imagine(*cast.node_control, options, pair, order);
  Cutover cutover{Means{options, cast.servers, planned.exporter, traffic, *control, planned.clock, planned.stop},
                  Known{.id = planned.id}, Told{.progress = progress}};
  cutover.on_step = [&](const Step& step) { begun = step.name; };
  walk.outcome = run_cutover(cutover, [&](const Cutover& now) {
    return std::make_unique<Journal>(std::make_unique<NoFile>(), now.clock, nlohmann::json::object(),
                                     nlohmann::json::object());
  });
  cast.servers.lock->disconnect();  // the next walk needs the cluster's lock
  return walk;
}

void require_whole(const Outcome& outcome) {
  if (outcome.exit_code == 0) return;
  throw Error(std::ranges::find(error_table, outcome.name, &ErrorRow::name)->code,
              "the plan comes to no end: " + outcome.message, outcome.hint);
}

std::vector<std::string> left_by_hand(const Cutover& planned) {
  const Options& options = planned.options;
  std::vector<std::string> lines;
  if (options.demotion != Demotion::standby) {
    lines.push_back(
        fmt::format("make {} a standby of the new primary: agent rejoin", options.pair.old_primary.address()));
  }
  if (options.traffic.empty() && options.hooks_directory.empty()) {
    lines.push_back(fmt::format("clients need both servers in their connection string, or have to be pointed to {}",
                                options.pair.new_primary.address()));
  }
  for (const Finding& finding : planned.findings) {
    if (finding.verdict.level == Level::warn)
      lines.push_back(fmt::format("{}: {}", finding.check->name, finding.verdict.reason));
  }
  return lines;
}

std::vector<std::string> ways_back(const Options& options) {
  std::vector<std::string> lines{fmt::format(
      "before {} is told to promote: after any failure, Ctrl-C, or a pause of more than {}, all steps "
      "are undone as listed, and the application writes to {} again",
      options.pair.new_primary.address(), human(options.max_write_pause), options.pair.old_primary.address())};
  lines.push_back(
      options.demotion == Demotion::standby
          ? "afterwards: agent cutover --switch-back, the same way with the servers changed; no write is lost"
          : "afterwards: agent rejoin, then agent cutover --switch-back; no write is lost. Without a rejoin "
            "there is no way back that keeps what was written since");
  return lines;
}

}  // namespace

void Questions::add(const std::string& server, const std::string& sql) {
  const std::lock_guard lock(mutex_);
  by_server_[server].insert(on_one_line(sql));
}

std::map<std::string, std::set<std::string>> Questions::all() const {
  const std::lock_guard lock(mutex_);
  return by_server_;
}

Plan make_plan(const Cutover& planned, const Outcome& looked, const MakeCast& make_cast) {
  Walk back = walk(planned, true, make_cast);
  require_whole(back.outcome);
  Walk forward = walk(planned, false, make_cast);
  require_whole(forward.outcome);
  Plan plan;
  for (const StepRecord& record : looked.steps) {
    const std::string name(record.step->name);
    PlannedStep step{record.step, record.evidence, std::nullopt, std::move(forward.orders[name]),
                     std::move(back.undo[name])};
    if (planned.prediction) {
      for (const auto& part : planned.prediction->parts) {
        if (part.step == name) step.predicted = part.took;
      }
    }
    plan.steps.push_back(std::move(step));
  }
  plan.afterwards = std::move(forward.afterwards);
  plan.by_hand = left_by_hand(planned);
  plan.way_back = ways_back(planned.options);
  return plan;
}

}  // namespace pgrm::agent
