#include "exporter/sampler.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

namespace pgrm::exporter {
namespace {

/// A server that hangs is waited for once per look_deadline and no longer than this: so the other server's observation
/// stays fresher than SyncPolicy::max_gap(), which is two intervals, two probes and a second.
Duration patience_for(Duration interval) {
  return std::min<Duration>(interval + std::chrono::milliseconds(500), look_deadline);
}

void log_reachability(const std::string& who, Side side, const Observation& before, const Observation& after) {
  const ServerSample& was = before.sample[side];
  const ServerSample& is = after.sample[side];
  const bool first = before.sample.generation == 0;
  if (is.state && (first || !was.state)) {
    spdlog::info("{}{} ({}) is reachable and {}", who, to_string(side), is.address,
                 is.state->in_recovery ? "in recovery" : "out of recovery");
  } else if (!is.state && (first || was.state)) {
    spdlog::warn("{}{} ({}) is not reachable: {}", who, to_string(side), is.address, is.error);
  } else if (is.state && was.state && is.state->in_recovery != was.state->in_recovery) {
    spdlog::warn("{}{} ({}) has {} recovery", who, to_string(side), is.address,
                 is.state->in_recovery ? "entered" : "left");
  }
}

void log_collectors(const std::string& who, Side side, const Observation& before, const Observation& after) {
  const auto error_of = [side](const Observation& observation, const std::string& collector) {
    const auto& state = observation.sample[side].state;
    if (!state) return std::string();
    const auto found = std::ranges::find(state->collectors, collector, &Collector::name);
    return found == state->collectors.end() ? std::string() : found->error;
  };
  if (!after.sample[side].state) return;
  for (const Collector& now : after.sample[side].state->collectors) {
    const std::string was = error_of(before, now.name);
    if (!now.error.empty() && was.empty()) {
      spdlog::warn("{}{} of the {} are not known: {}", who, now.name, to_string(side), now.error);
    } else if (now.error.empty() && !was.empty()) {
      spdlog::info("{}{} of the {} are known again", who, now.name, to_string(side));
    }
  }
}

/// Only what changes is worth a line: a server that is down for a week must not fill a disk. `who`: what the line
/// begins with.
void log_changes(const std::string& who, const Observation& before, const Observation& after) {
  for (const Side side : both_sides) {
    log_reachability(who, side, before, after);
    log_collectors(who, side, before, after);
  }
  const auto names = [](const Observation& observation) {
    std::vector<std::string> result;
    for (const SyncReason& reason : observation.streak.reasons()) result.push_back(reason.name);
    return result;
  };
  if (after.streak.in_sync() && !before.streak.in_sync()) spdlog::info("{}in sync", who);
  if (!after.streak.in_sync() && names(before) != names(after)) {
    for (const SyncReason& reason : after.streak.reasons()) {
      spdlog::warn("{}not in sync ({}): {}", who, reason.name, reason.text);
    }
  }
}

}  // namespace

Sampler::Sampler(std::unique_ptr<Node> primary, std::unique_ptr<Node> replica, const SyncPolicy& policy,
                 const Clock& clock, Pool& pool, std::string name)
    : clock_(clock),
      name_(std::move(name)),
      thresholds_(policy.thresholds),
      interval_(policy.interval),
      patience_(patience_for(policy.interval)),
      primary_(std::move(primary), clock, look_deadline, pool),
      replica_(std::move(replica), clock, look_deadline, pool),
      latest_(std::make_shared<const Observation>(policy)) {}

Sampler::~Sampler() = default;

void Sampler::start() {
  thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
}

std::shared_ptr<const Observation> Sampler::latest() const {
  const std::lock_guard lock(mutex_);
  return latest_;
}

void Sampler::run(const std::stop_token& stop) {
  Mono next = clock_.now();
  do {
    round(stop);
    // Rounds that were missed are not made up for.
    next = std::max(next + interval_, clock_.now());
  } while (!clock_.sleep_until(next, stop));
}

template <class Answer>
std::optional<Answer> Sampler::ask(Sample& sample, Side side, std::function<std::optional<Answer>(Node&)> question,
                                   Duration patience) {
  try {
    return (side == Side::primary ? primary_ : replica_).ask(std::move(question), patience);
  } catch (const std::exception&) {
    not_seen(sample[side]);
    return std::nullopt;
  }
}

void Sampler::probe(Sample& sample, const std::stop_token& stop) {
  sample.catch_up = caught_up(sample, thresholds_);
  if (sample.catch_up || !pair_lag(sample).replay_bytes) return;
  const Flow flow = *wal_flow(sample);
  const Mono asked = clock_.now();
  const auto target = ask<Lsn>(
      sample, flow.from, [](Node& primary) { return primary.wal_flushed(look_deadline); }, patience_);
  if (!target) return;
  const auto await = [asked, target = *target, thresholds = thresholds_, &clock = clock_, stop](Node& standby) {
    return await_replay(standby, asked, target, thresholds, clock, look_deadline, stop);
  };
  sample.catch_up = ask<CatchUp>(sample, flow.to, await, thresholds_.seconds + patience_);
}

void Sampler::round(const std::stop_token& stop) {
  const auto before = latest();
  Sample sample;
  sample.generation = before->sample.generation + 1;
  sample.sampled_at = clock_.wall();
  sample.sampled_mono = clock_.now();
  // The replica first: what the primary writes in between can only make the lag look larger.
  sample.replica = replica_.look(patience_);
  sample.primary = primary_.look(patience_);
  probe(sample, stop);
  sample.took = clock_.now() - sample.sampled_mono;

  auto after = std::make_shared<const Observation>(before->next(std::move(sample)));
  log_changes(name_.empty() ? "" : name_ + ": ", *before, *after);
  const std::lock_guard lock(mutex_);
  latest_ = std::move(after);
}

}  // namespace pgrm::exporter
