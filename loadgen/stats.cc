#include "loadgen/stats.h"

#include <algorithm>

namespace pgrm::loadgen {

std::size_t sqlstate_class(std::string_view sqlstate) {
  const auto found = std::ranges::find(sqlstate_classes, sqlstate.substr(0, 2));
  return std::min(static_cast<std::size_t>(found - sqlstate_classes.begin()), sqlstate_classes.size() - 1);
}

std::uint64_t Totals::count(Result result) const {
  std::uint64_t sum = 0;
  for (const auto& row : outcomes) sum += row[index_of(result)];
  return sum;
}

std::uint64_t Totals::count(Kind kind, Result result) const {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < outcomes.size(); ++i) {
    if (operations[i].kind == kind) sum += outcomes[i][index_of(result)];
  }
  return sum;
}

std::uint64_t Totals::refused() const {
  std::uint64_t sum = 0;
  for (const auto& row : refusals) {
    for (const std::uint64_t count : row) sum += count;
  }
  return sum;
}

Histogram Totals::all_latencies() const { return sum_of(latency); }

Totals Totals::since(const Totals& earlier) const {
  Totals result = *this;
  const auto subtract = [](auto& table, const auto& other) {
    for (std::size_t i = 0; i < table.size(); ++i) {
      for (std::size_t j = 0; j < table[i].size(); ++j) table[i][j] -= other[i][j];
    }
  };
  subtract(result.outcomes, earlier.outcomes);
  subtract(result.refusals, earlier.refusals);
  result.connections_opened -= earlier.connections_opened;
  for (std::size_t i = 0; i < kind_count; ++i) result.latency[i] = latency[i].since(earlier.latency[i]);
  return result;
}

void Stats::add(std::span<const Outcome> outcomes) {
  const std::lock_guard lock(mutex_);
  for (const Outcome& outcome : outcomes) {
    ++totals_.outcomes[outcome.operation][index_of(outcome.result)];
    if (outcome.result == Result::acknowledged) {
      totals_.latency[index_of(operations[outcome.operation].kind)].record(outcome.latency);
      by_client_[outcome.client].record(outcome.latency);
    }
  }
}

void Stats::refused(Kind kind, std::string_view sqlstate) {
  const std::lock_guard lock(mutex_);
  ++totals_.refusals[index_of(kind)][sqlstate_class(sqlstate)];
}

void Stats::connected() {
  const std::lock_guard lock(mutex_);
  ++totals_.connections_opened;
}

Totals Stats::totals() const {
  const std::lock_guard lock(mutex_);
  return totals_;
}

std::vector<Histogram> Stats::by_client() const {
  const std::lock_guard lock(mutex_);
  return by_client_;
}

Mono WriteGap::commit() {
  const std::lock_guard lock(mutex_);
  const Mono now = clock_.now();  // under the lock, so that gaps are those of one sequence
  if (last_) {
    for (Closed& longest : longest_) {
      if (now - *last_ > longest.length) longest = {now - *last_, *last_};
    }
  }
  last_ = now;
  return now;
}

std::optional<WriteGap::Gap> WriteGap::longest(Window window) const {
  const std::lock_guard lock(mutex_);
  if (!last_) return std::nullopt;
  const Mono now = clock_.now();
  const Closed& closed = longest_[static_cast<std::size_t>(window)];
  const bool open = now - *last_ > closed.length;
  const Mono began = open ? *last_ : closed.began;
  return Gap{open ? now - *last_ : closed.length,
             clock_.wall() - std::chrono::duration_cast<WallTime::duration>(now - began), open};
}

void WriteGap::restart(Window window) {
  const std::lock_guard lock(mutex_);
  longest_[static_cast<std::size_t>(window)] = {};
}

}  // namespace pgrm::loadgen
