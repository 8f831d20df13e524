#include "agent/commands/all_pairs.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <iostream>
#include <mutex>
#include <set>

#include "agent/base/parallel.h"
#include "core/base/error.h"
#include "core/base/json_text.h"

namespace pgrm::agent {
namespace {

const int refused = error_row(ErrorCode::preflight_refused).exit_code;

/// A pair whose server hangs takes many deadlines of Options::call_deadline to be judged, and holds one of these.
constexpr std::size_t pairs_at_a_time = 32;

/// A pair that could not even be asked refuses for itself alone.
PairJudged not_judged(const std::string& what, const std::string& hint) {
  return {.exit_code = refused,
          .message = what,
          .json = {{"passed", false},
                   {"checks", nlohmann::json::array()},
                   {"clients", nullptr},
                   {"error", what},
                   {"hint", hint}}};
}

PairJudged try_to_judge(const Settings& pair, const JudgePair& judge_pair) {
  try {
    return judge_pair(pair);
  } catch (const Error& error) {
    return not_judged(error.what(), error.hint());
  } catch (const std::exception& surprise) {
    return not_judged(surprise.what(), std::string(error_row(ErrorCode::internal).hint));
  }
}

/// On a terminal: which pairs are still waited for.
class Waiting {
 public:
  Waiting(const std::vector<Settings>& pairs, bool shown) : all_(pairs.size()), shown_(shown), block_(std::cout) {
    for (const Settings& pair : pairs) names_.insert(pair.pair_name());
    draw();
  }
  ~Waiting() { block_.erase(); }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;

  void no_more_for(const std::string& name) {
    const std::lock_guard lock(mutex_);
    names_.erase(name);
    draw();
  }

 private:
  void draw() {
    if (!shown_) return;
    block_.draw({Line(fmt::format("{} of {} pairs are judged; waiting for {}", all_ - names_.size(), all_,
                                  fmt::join(names_, ", ")))},
                Style::of_terminal());
  }

  const std::size_t all_;
  const bool shown_;
  std::mutex mutex_;
  std::set<std::string> names_;
  Block block_;
};

/// As it has to be typed for this file.
std::string options_for_one(const Settings& pair) {
  return (pair.given_as_flag("PAIRS_FILE") ? "--pairs " + pair.text("PAIRS_FILE") + " " : "") + "--pair NAME";
}

}  // namespace

int judge_all(const std::vector<Settings>& pairs, const Arguments& arguments, const std::stop_token& stop,
              const std::string& alone, const JudgePair& judge_pair) {
  std::vector<PairJudged> judged(pairs.size());
  {
    Waiting waiting(pairs, !arguments.json && isatty(STDOUT_FILENO) != 0);
    each_of(pairs.size(), pairs_at_a_time, [&](std::size_t i) {
      if (stop.stop_requested()) return;
      judged[i] = try_to_judge(pairs[i], judge_pair);
      judged[i].name = judged[i].json["name"] = pairs[i].pair_name();
      waiting.no_more_for(judged[i].name);
    });
  }
  if (stop.stop_requested()) throw Error(ErrorCode::undone, "interrupted, nothing was changed");
  sort_worst_first(judged);
  if (arguments.json) {
    auto all = nlohmann::json::array();
    for (PairJudged& pair : judged) all.push_back(std::move(pair.json));
    std::cout << json_text(all, 2) << '\n';
  } else {
    const Style style = Style::of_terminal();
    for (const Line& line : pairs_table(judged)) std::cout << line.render(style) << '\n';
    std::cout << fmt::format("\n{}. All checks of one: {} {}\n", pairs_total(judged), alone,
                             options_for_one(pairs.front()));
  }
  return std::ranges::all_of(judged, [](const PairJudged& pair) { return pair.exit_code == 0; }) ? 0 : refused;
}

}  // namespace pgrm::agent
