#include "agent/compare/watch.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <utility>

#include "agent/base/bytes.h"
#include "core/base/error.h"

namespace pgrm::agent {
namespace {

constexpr Duration look_interval = std::chrono::seconds(1);
/// What the live line is about: servers tell what a session has done up to a second late.
constexpr std::size_t looks_of_the_line = 6;

class Watch {
 public:
  Watch(const WatchMeans& means, WorkloadRecord& record)
      : means_(means), record_(record), before_(window_before(record)), began_(means.clock.now()) {
    so_far_.comparison = compare(before_, {.problem = "the new primary has not answered"});
  }

  WatchedSoFar go() {
    const Mono end = began_ + means_.options.watch_after;
    for (;;) {
      look();
      if (means_.clock.now() >= end || means_.stop.stop_requested()) break;
      if (means_.clock.sleep_until(std::min(end, means_.clock.now() + look_interval), means_.stop)) {
        look();  // what was seen until the interrupt counts
        break;
      }
    }
    name_statements(so_far_.comparison, means_.new_primary, means_.options.call_deadline);
    if (!trouble_.empty()) so_far_.comparison.notes.push_back(trouble_);
    return so_far_;
  }

 private:
  void look() {
    const auto now = ask();
    so_far_.back = way_back(*means_.new_primary.admin, means_.options);
    if (now) {
      recent_.push_back(*now);
      if (recent_.size() > looks_of_the_line) recent_.pop_front();
      if (!record_.opened) record_.opened = *now;
      so_far_.comparison = compare(before_, window_after(record_, *now));
    }
    means_.tells(line(now.has_value()));
    if (means_.shows) means_.shows(so_far_);
  }

  std::optional<WorkloadSnapshot> ask() {
    try {
      if (!observer_) observer_ = means_.new_primary.workload();
      return observer_->snapshot(means_.options.call_deadline);
    } catch (const Error& error) {
      observer_.reset();  // the next look opens a new session
      trouble_ = fmt::format("a look at the new primary failed: {}", error.what());
      return std::nullopt;
    }
  }

  /// Of the last seconds.
  std::string line(bool seen) const {
    const std::string time =
        fmt::format("{} of {}: ", human(means_.clock.now() - began_), human(means_.options.watch_after));
    if (!seen) return time + trouble_;
    if (recent_.size() < 2) return time + "the first look";
    const Comparison now = compare(before_, between(recent_.front(), recent_.back(), look_interval));
    const auto figure = [&](std::string_view key) {
      const Measure& measure = *now.measure(key);
      return shown(measure.after, measure.unit);
    };
    const bool statements = now.measure("same_statements")->after.has_value();
    return fmt::format(
        "{}transactions {}, rolled back {}, {} {}, {} connections, {}", time, figure("transactions"),
        figure("rolled_back"), statements ? "a statement" : "a transaction",
        figure(statements ? "same_statements" : "active"), figure("connections"),
        so_far_.back.streams
            ? "the old primary is " +
                  (so_far_.back.behind ? human_bytes(*so_far_.back.behind) : "an unknown number of bytes") + " behind"
            : "the old primary does not follow");
  }

  const WatchMeans& means_;
  WorkloadRecord& record_;
  const WorkloadWindow before_;
  const Mono began_;
  std::unique_ptr<WorkloadObserver> observer_;
  std::deque<WorkloadSnapshot> recent_;
  std::string trouble_;
  WatchedSoFar so_far_;
};

}  // namespace

std::string WayBack::text() const {
  if (streams) {
    return fmt::format("to switch back without loss: {} (the old primary streams, {} behind)", type,
                       behind ? human_bytes(*behind) : "an unknown number of bytes");
  }
  return fmt::format(
      "to switch back without loss, first: {}: the old primary does not stream from the new one, and "
      "lacks what is written there",
      type);
}

WayBack way_back(Node& new_primary, const Options& options) {
  WayBack back;
  try {
    const ServerState state = new_primary.observe(options.call_deadline);
    const auto standby = std::ranges::find_if(state.standbys, [&](const Standby& one) {
      return one.slot == options.standby_slot && one.state == "streaming";
    });
    back.streams = standby != state.standbys.end();
    if (back.streams && state.wal_flush && standby->replay) {
      back.behind = std::max<std::int64_t>(0, distance(*standby->replay, *state.wal_flush));
    }
  } catch (const Error&) {
    back.streams = false;
  }
  const std::string directed = options.switch_back ? "agent cutover" : "agent cutover --switch-back";
  if (back.streams) {
    back.type = directed;
  } else {
    back.type = fmt::format("agent rejoin{}, then {}", options.node_control.empty() ? " --node-control DIRECTORY" : "",
                            directed);
  }
  return back;
}

WatchedSoFar watch_after(const WatchMeans& means, WorkloadRecord& record) { return Watch(means, record).go(); }

std::optional<WorkloadSnapshot> try_look(const Server& server, Duration deadline, std::string& problem) {
  if (!server.workload) return std::nullopt;
  try {
    return server.workload()->snapshot(deadline);
  } catch (const Error& error) {
    if (problem.empty()) problem = error.what();
    return std::nullopt;
  }
}

void name_statements(Comparison& comparison, const Server& server, Duration deadline) {
  const std::vector<std::int64_t> ids = statements_to_name(comparison);
  if (ids.empty() || !server.workload) return;
  try {
    name_statements(comparison, server.workload()->texts(ids, deadline));
  } catch (const Error& error) {
    comparison.notes.push_back(fmt::format("the texts of statements are not known: {}", error.what()));
  }
}

}  // namespace pgrm::agent
