#include "agent/engine/prediction.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <functional>

#include "agent/base/state_dir.h"
#include "agent/engine/context.h"
#include "agent/engine/journal.h"
#include "core/base/error.h"
#include "core/replication/lag.h"

namespace pgrm::agent {
namespace {

using std::chrono::milliseconds;

// What each step costs in questions asked one after the other, counted in stopping.cc, promoting.cc and fence.cc.
constexpr int fence_questions = 7, fence_syncs = 3;
constexpr int verification_questions = 2;
constexpr int promotion_syncs = 2;
constexpr int validation_questions = 3, validation_syncs = 3;
// What nobody can measure without doing it: a postmaster telling its children and a login that is refused; a backend
// ending. Seen on two cores: 27 to 31 ms for a fence that ends 12 idle sessions.
constexpr Duration reload_and_login = milliseconds(8);
constexpr Duration ending_a_session = std::chrono::microseconds(1500);
// Between pg_promote(wait => false) and the end of recovery on a small idle cluster whose last restartpoint is near,
// without a WAL segment to copy to the new timeline; and what a MB of such a segment takes. Seen on two cores: 40 ms
// with a segment of 16 MB, 1.5 s with one of 1 GB.
constexpr Duration usual_promotion = milliseconds(15);
constexpr Duration copying_a_megabyte = std::chrono::microseconds(1500);
// What one of them takes in writes to disk. Seen with 302 directories and 59 segments: 4 ms and 17 ms each, beside 4 ms
// for a record of the journal.
constexpr int directory_syncs = 1, spare_segment_syncs = 4;

/// The middle one of several: one slow answer says little about the next.
Duration median_of(const Clock& clock, int times, const std::function<void()>& work) {
  std::vector<Duration> took;
  for (int i = 0; i < times; ++i) {
    const Mono start = clock.now();
    work();
    took.push_back(clock.now() - start);
  }
  std::ranges::sort(took);
  return took[took.size() / 2];
}

Duration journal_sync(const Cutover& cutover) {
  const std::string path = cutover.options.state_dir + "/.prediction-" + cutover.id;
  try {
    const auto file = create_journal_file(path);
    const std::string line = std::string(200, 'x') + "\n";
    const Duration took = median_of(cutover.clock, 5, [&] { file->append(line, true); });
    std::remove(path.c_str());
    return took;
  } catch (const Error&) {  // then the cutover itself will be refused, and say why
    std::remove(path.c_str());
    return {};
  }
}

/// nullopt: the report has no promotion, or one of another server, or cannot be read.
std::optional<Duration> promotion_in(const std::string& path, const Cutover& cutover) {
  try {
    const auto report = nlohmann::json::parse(read_file(path));
    if (report.value("system_identifier", "") != cutover.system_identifier) return std::nullopt;
    if (report.value("new_primary", "") != cutover.options.pair.new_primary.address()) return std::nullopt;
    for (const auto& step : report.at("steps")) {
      if (step.at("name") == "promote" && step.at("result") == "done") return from_seconds(step.at("seconds"));
    }
  } catch (const std::exception&) {  // a report of another version, or a torn one
  }
  return std::nullopt;
}

/// How long the last promotion of this very server took, from the reports in STATE_DIR.
std::optional<Duration> last_promotion(const Cutover& cutover) {
  for (const std::string& directory : directories_with(cutover.options.state_dir, "report.json")) {
    if (const auto took = promotion_in(directory + "/report.json", cutover)) return took;
  }
  return std::nullopt;
}

}  // namespace

Duration Prediction::total() const {
  Duration sum{};
  for (const Part& part : parts) sum += part.took;
  return sum;
}

std::optional<OldestTransaction> holds_up_traffic(Cutover& cutover) {
  std::vector<int> pids;
  for (const auto& driver : cutover.traffic) {
    const auto of_driver = driver->waits_for();
    pids.insert(pids.end(), of_driver.begin(), of_driver.end());
  }
  if (pids.empty()) return std::nullopt;
  return cutover.servers.old_primary.admin->oldest_transaction(pids, cutover.options.call_deadline);
}

Measured measure(Cutover& cutover) {
  const Duration deadline = cutover.options.call_deadline;
  Node& old_primary = *cutover.servers.old_primary.admin;
  Node& new_primary = *cutover.servers.new_primary.admin;
  Measured measured;
  const auto before = new_primary.wal_replayed(deadline);
  const Mono since = cutover.clock.now();
  measured.old_round_trip = median_of(cutover.clock, 5, [&] { old_primary.in_recovery(deadline); });
  measured.new_round_trip = median_of(cutover.clock, 5, [&] { new_primary.in_recovery(deadline); });
  measured.journal_sync = journal_sync(cutover);
  measured.traffic = !cutover.traffic.empty();
  for (const auto& driver : cutover.traffic) {
    measured.traffic_round_trip += median_of(cutover.clock, 3, [&] { driver->problem(); });
  }
  measured.sessions = static_cast<int>(old_primary.client_sessions(deadline).size());
  const ServerFacts facts = old_primary.facts(deadline);
  measured.waited_for = holds_up_traffic(cutover);
  const auto after = new_primary.wal_replayed(deadline);
  const double elapsed = to_seconds(cutover.clock.now() - since);
  if (before && after && *before < *after && elapsed > 0) {
    measured.replay_rate = static_cast<double>(distance(*before, *after)) / elapsed;
  }
  const PairLag lag = pair_lag(observe_pair(old_primary, new_primary, 1, cutover.clock, deadline));
  measured.replay_lag = lag.replay;
  measured.bytes_behind = lag.replay_bytes;
  if (cutover.wal_segment == 0) measured.segment_to_copy = wal_segment_size(facts);
  measured.last_promotion = last_promotion(cutover);
  measured.promotion_work = new_primary.promotion_work(deadline);
  return measured;
}

static Duration usual(const Measured& measured) {
  return usual_promotion + (measured.segment_to_copy >> 20) * copying_a_megabyte;
}

static Duration promotion(const Measured& measured) {
  const PromotionWork work = measured.promotion_work.value_or(PromotionWork{});
  const int syncs = promotion_syncs + work.directories * directory_syncs + work.spare_segments * spare_segment_syncs;
  return std::max(measured.last_promotion.value_or(Duration::zero()), usual(measured) + syncs * measured.journal_sync);
}

static std::string promotion_text(const Measured& measured) {
  const std::string segment = measured.segment_to_copy == 0
                                  ? "no WAL segment to copy"
                                  : fmt::format("a WAL segment of {} MB to copy", measured.segment_to_copy >> 20);
  std::string text = fmt::format("{} for a standby that is caught up, with {}: cannot be measured beforehand",
                                 human(usual(measured)), segment);
  if (measured.promotion_work) {
    text += fmt::format("; {} directories to sync and {} spare WAL segments to remove",
                        measured.promotion_work->directories, measured.promotion_work->spare_segments);
  }
  if (measured.last_promotion) {
    text += "; at least what the last promotion of this server took: " + human(*measured.last_promotion);
  }
  return text;
}

Prediction predict(const Measured& measured) {
  Prediction prediction;
  const auto add = [&](std::string_view step, Duration took, std::string from) {
    prediction.parts.push_back({std::string(step), took, std::move(from)});
  };
  const Duration drain = measured.waited_for ? measured.waited_for->age : Duration::zero();
  add("stop_traffic", measured.traffic_round_trip + measured.journal_sync + drain,
      !measured.traffic
          ? "nobody to tell"
          : fmt::format("the drivers answer in {}; {}", human(measured.traffic_round_trip),
                        measured.waited_for ? fmt::format("{} is open for {}, and its like are waited for",
                                                          measured.waited_for->who, human(measured.waited_for->age))
                                            : "no transaction that they wait for is open"));
  const Duration ending = reload_and_login + measured.sessions * ending_a_session;
  add("fence", fence_questions * measured.old_round_trip + fence_syncs * measured.journal_sync + ending,
      fmt::format("{} questions of {} to the old primary, {} writes to disk of {}, and {} for reloading, a login and "
                  "{} sessions to end",
                  fence_questions, human(measured.old_round_trip), fence_syncs, human(measured.journal_sync),
                  human(ending), measured.sessions));
  const Duration catching_up = measured.bytes_behind && measured.replay_rate && *measured.bytes_behind > 0
                                   ? from_seconds(static_cast<double>(*measured.bytes_behind) / *measured.replay_rate)
                                   : Duration::zero();
  const Duration replay = std::max(measured.replay_lag.value_or(Duration::zero()), catching_up);
  add("final_verification", replay + verification_questions * (measured.old_round_trip + measured.new_round_trip) / 2,
      fmt::format("replay is {} behind{}; {} questions",
                  measured.replay_lag ? human(*measured.replay_lag) : "an unknown time",
                  measured.replay_rate ? fmt::format(" and goes at {:.1f} MB/s", *measured.replay_rate / 1e6) : "",
                  verification_questions));
  add("promote", promotion(measured), promotion_text(measured));
  add("validate", validation_questions * measured.new_round_trip + validation_syncs * measured.journal_sync,
      fmt::format("{} questions of {} to the new primary, {} writes to disk", validation_questions,
                  human(measured.new_round_trip), validation_syncs));
  add("open", measured.traffic_round_trip + measured.journal_sync,
      measured.traffic ? "the drivers answer in " + human(measured.traffic_round_trip) : "nobody to tell");
  return prediction;
}

std::optional<Prediction> try_predict(Cutover& cutover) {
  try {
    return predict(measure(cutover));
  } catch (const Error& error) {
    spdlog::warn("no prediction of the write gap: {}", error.what());
    return std::nullopt;
  }
}

std::string too_long(const Cutover& cutover) {
  const Duration allowed = cutover.options.max_write_pause;
  if (!cutover.prediction || cutover.prediction->total() <= allowed) return {};
  return fmt::format("a pause of {} is predicted, allowed: {}", human(cutover.prediction->total()), human(allowed));
}

nlohmann::json prediction_to_json(const Prediction& prediction) {
  auto parts = nlohmann::json::array();
  for (const auto& [step, took, from] : prediction.parts) {
    parts.push_back({{"step", step}, {"seconds", to_seconds(took)}, {"from", from}});
  }
  return {{"seconds", to_seconds(prediction.total())}, {"parts", parts}};
}

}  // namespace pgrm::agent
