#include "agent/warm/warming.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "agent/base/bytes.h"
#include "core/base/error.h"
#include "core/replication/catch_up.h"

namespace pgrm::agent {
namespace {

// A statement is as long as this, so that a replay that waits for one of its locks does not wait longer.
constexpr Duration statement_target = std::chrono::milliseconds(100);
// What follows may be on a slow disk, however fast the last one came out of the system's memory: no more than this.
constexpr std::int64_t smallest_batch = 256 << 10, largest_batch = 8 << 20;  // bytes
constexpr Duration first_yield = std::chrono::milliseconds(100), longest_yield = std::chrono::seconds(2);

class Run {
 public:
  Run(const WarmMeans& means, WarmSurvey& survey) : means_(means), survey_(survey), began_(means.clock.now()) {}

  Warmed go() {
    const auto& ranges = survey_.plan.ranges;
    std::size_t at = 0;
    while (at < ranges.size() && may_go_on()) {
      const std::size_t end = batch_from(ranges, at, std::max<std::int64_t>(1, batch_ / survey_.block_size));
      load({ranges.begin() + static_cast<std::ptrdiff_t>(at), ranges.begin() + static_cast<std::ptrdiff_t>(end)});
      at = end;
      keep_to_rate();
    }
    for (; at < ranges.size(); ++at) warmed_.not_reached += ranges[at].count();
    warmed_.took = means_.clock.now() - began_;
    return warmed_;
  }

 private:
  bool may_go_on() {
    if (means_.stop.stop_requested()) warmed_.ended = "interrupted";
    if (means_.budget && means_.clock.now() - began_ > *means_.budget) {
      warmed_.ended = fmt::format("{} are over", human(*means_.budget));
    }
    return warmed_.ended.empty() && await_replica();
  }

  /// Half of what counts as in sync is left to the piece that follows.
  bool replica_keeps_up() {
    const LagThresholds& allowed = means_.options.thresholds;
    const LagThresholds wanted{allowed.bytes, allowed.seconds / 2};
    const auto probe = measure_catch_up(*means_.servers.old_primary.admin, *means_.servers.new_primary.admin, wanted,
                                        means_.clock, means_.options.call_deadline, means_.stop);
    return probe && probe->in_time(wanted);
  }

  bool await_replica() {
    const Mono since = means_.clock.now();
    Duration pause = first_yield;
    bool waited = false;
    while (!replica_keeps_up()) {
      waited = true;
      const Duration behind = means_.clock.now() - since;
      if (means_.patience && behind > *means_.patience) {
        warmed_.ended = fmt::format("the replica did not catch up within {}", human(*means_.patience));
        break;
      }
      means_.tells(standing() + ", waits: the replica is behind");
      if (means_.clock.sleep_for(pause, means_.stop)) {
        warmed_.ended = "interrupted";
        break;
      }
      pause = std::min(2 * pause, longest_yield);
    }
    if (waited) warmed_.yielded += means_.clock.now() - since;
    return warmed_.ended.empty();
  }

  void load(std::span<const BlockRange> ranges) {
    std::int64_t asked = 0;
    for (const BlockRange& range : ranges) asked += range.count();
    Buffers* const session = survey_.databases.at(ranges.front().file.database).session.get();
    if (session == nullptr) {
      warmed_.unopened += asked;
      return;
    }
    const Mono start = means_.clock.now();
    try {
      count(session->load(ranges, warm_statement_timeout), asked);
    } catch (const Error& error) {
      if (is_without_session(error.code()) || error.code() == ErrorCode::internal) throw;
      // A disk that hangs would take as long for each of them.
      if (ranges.size() > 1 &&
          error.code() !=
              ErrorCode::timeout) {  // one of them was dropped meanwhile, or may not be read: the others can be
        for (const BlockRange& range : ranges) load({&range, 1});
        return;
      }
      if (error.code() == ErrorCode::permission_denied) {
        warmed_.blocks.denied += asked;
      } else {
        warmed_.failed += asked;
        if (warmed_.failure.empty()) warmed_.failure = error.what();
      }
      return;
    }
    fit_batch(asked * survey_.block_size, means_.clock.now() - start);
    means_.tells(standing());
  }

  void count(const Loaded& answer, std::int64_t asked) {
    warmed_.blocks.loaded += answer.loaded;
    warmed_.blocks.denied += answer.denied;
    warmed_.blocks.unreadable += answer.unreadable;
    warmed_.gone += std::max<std::int64_t>(0, asked - answer.loaded - answer.denied - answer.unreadable);
  }

  void fit_batch(std::int64_t bytes, Duration took) {
    const double speed = static_cast<double>(bytes) / std::max(to_seconds(took), 1e-4);
    const auto fitting = static_cast<std::int64_t>(std::min(speed * to_seconds(statement_target), 1e12));
    batch_ = std::clamp(fitting, batch_ / 2, 2 * batch_);
    const double rate = means_.options.warm_rate * 1e6;
    if (rate > 0) batch_ = std::min(batch_, static_cast<std::int64_t>(rate * to_seconds(statement_target)));
    batch_ = std::clamp(batch_, smallest_batch, largest_batch);
  }

  void keep_to_rate() {
    const double rate = means_.options.warm_rate * 1e6;
    if (rate <= 0) return;
    const double due = static_cast<double>(survey_.bytes(warmed_.blocks.loaded)) / rate;
    means_.clock.sleep_until(began_ + warmed_.yielded + from_seconds(due), means_.stop);
  }

  std::string standing() const {
    const std::int64_t done = warmed_.blocks.loaded + warmed_.blocks.denied + warmed_.blocks.unreadable +
                              warmed_.failed + warmed_.gone + warmed_.unopened;
    const double elapsed = to_seconds(means_.clock.now() - began_);
    std::string text =
        fmt::format("{} of {}", human_bytes(survey_.bytes(done)), human_bytes(survey_.bytes(survey_.plan.to_load)));
    if (done == 0 || elapsed <= 0) return text;
    const double speed = static_cast<double>(survey_.bytes(done)) / elapsed;
    return text +
           fmt::format(", {}/s, {} left", human_bytes(static_cast<std::int64_t>(speed)),
                       human(from_seconds(static_cast<double>(survey_.bytes(survey_.plan.to_load - done)) / speed)));
  }

  const WarmMeans& means_;
  WarmSurvey& survey_;
  const Mono began_;
  std::int64_t batch_ = 1 << 20;  // bytes
  Warmed warmed_;
};

std::string known_already(const WarmSurvey& survey) {
  if (!survey.held_known) return "what was there already is not known";
  return fmt::format("{} of {} were there already", human_bytes(survey.bytes(survey.plan.held)),
                     human_bytes(survey.bytes(survey.plan.wanted)));
}

}  // namespace

Warmed warm_up(const WarmMeans& means, WarmSurvey& survey) { return Run(means, survey).go(); }

std::string describe(const WarmSurvey& survey, const Warmed& warmed) {
  std::string text = fmt::format("{} loaded in {}, {}", human_bytes(survey.bytes(warmed.blocks.loaded)),
                                 human(warmed.took), known_already(survey));
  struct Part {
    std::int64_t blocks;
    std::string_view what;
  };
  const std::string failed = "failed (" + warmed.failure + ")";
  for (const auto& [blocks, what] : std::array{
           Part{warmed.blocks.denied, "the agent's role may not read"},
           Part{warmed.blocks.unreadable, "are not of tables, and need pg_prewarm"},
           Part{warmed.unopened, "are in databases that cannot be warmed"},
           Part{warmed.failed, failed},
           Part{warmed.gone, "are not there any more"},
           Part{warmed.not_reached, "were not reached"},
           Part{survey.plan.no_room, "have no room in shared_buffers"},
       }) {
    if (blocks > 0) text += fmt::format("; {} {}", human_bytes(survey.bytes(blocks)), what);
  }
  if (warmed.yielded > Duration::zero()) text += fmt::format("; waited {} for the replica", human(warmed.yielded));
  if (!warmed.ended.empty()) text += "; ended early: " + warmed.ended;
  return text;
}

std::string describe(const WarmSurvey& survey, double rate) {
  std::string text =
      fmt::format("would load {} by {}, {}; {}", human_bytes(survey.bytes(survey.plan.to_load)), survey.source,
                  warming_time(survey.bytes(survey.plan.to_load), rate), known_already(survey));
  if (survey.plan.no_room > 0) {
    text += fmt::format("; {} have no room in shared_buffers", human_bytes(survey.bytes(survey.plan.no_room)));
  }
  return text;
}

}  // namespace pgrm::agent
