// A server that an application uses at a steady rate, as its counters tell.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/base/clock.h"
#include "core/pg/workload.h"

namespace pgrm {

/// One server's.
struct FakeWorkload {
  explicit FakeWorkload(const Clock& time) : clock(time) {
    at_zero.version = 160004;
    at_zero.system_identifier = "7300000000000000001";
    at_zero.database = "testdb";
    at_zero.started_at = from_unix(1'700'000'000);
    at_zero.resets = {{"database", ""}, {"checkpoints", ""}, {"statements", ""}};
    at_zero.statements = Statements();
  }

  /// As it is now: everything has grown since the clock's beginning.
  WorkloadSnapshot look() const {
    const double seconds = to_seconds(clock.now().time_since_epoch());
    WorkloadSnapshot now = at_zero;
    now.at = from_unix(1'800'000'000 + seconds);
    for (const auto& [name, by_second] : rates) now.counters[name] += by_second * seconds;
    if (!now.statements) return now;
    for (const auto& [id, by_second] : statements) {
      StatementCounters& one = (*now.statements)[id];
      one.calls += static_cast<std::int64_t>(static_cast<double>(by_second.calls) * seconds);
      one.milliseconds += by_second.milliseconds * seconds;
      one.blocks += static_cast<std::int64_t>(static_cast<double>(by_second.blocks) * seconds);
      one.read += static_cast<std::int64_t>(static_cast<double>(by_second.read) * seconds);
    }
    return now;
  }

  const Clock& clock;
  WorkloadSnapshot at_zero{};
  std::map<std::string, double> rates{{"commits", 100}, {"rollbacks", 0}, {"connections", 0}};
  std::map<std::int64_t, StatementCounters> statements{};  // by the second
  std::map<std::int64_t, std::string> texts{};
  std::function<void()> before{};  // every call; may throw
};

class FakeWorkloadObserver final : public WorkloadObserver {
 public:
  explicit FakeWorkloadObserver(const FakeWorkload& server) : server_(server) {}

  WorkloadSnapshot snapshot(Duration) override {
    if (server_.before) server_.before();
    return server_.look();
  }
  std::map<std::int64_t, std::string> texts(const std::vector<std::int64_t>& statements, Duration) override {
    if (server_.before) server_.before();
    std::map<std::int64_t, std::string> found;
    for (const std::int64_t id : statements) {
      if (const auto text = server_.texts.find(id); text != server_.texts.end()) found.insert(*text);
    }
    return found;
  }

 private:
  const FakeWorkload& server_;
};

}  // namespace pgrm
