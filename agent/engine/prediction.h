// How long writes will be stopped, said beforehand from what can be measured without changing anything.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/base/clock.h"
#include "core/pg/node.h"

namespace pgrm::agent {

struct Cutover;

/// What the critical path is made of, as far as it can be measured now.
struct Measured {
  Duration old_round_trip{}, new_round_trip{};  // a question to each server over an open connection
  Duration journal_sync{};                      // one durable record in STATE_DIR; stands in for the servers' disks too
  Duration traffic_round_trip{};                // all drivers together; 0 without one
  int sessions = 0;                             // of clients on the old primary
  bool traffic = false;                         // somebody is told to stop
  std::optional<OldestTransaction> waited_for{};  // see holds_up_traffic()
  std::optional<Duration> replay_lag{};           // nullopt: unknown
  std::optional<std::int64_t> bytes_behind{};
  std::optional<double> replay_rate{};       // bytes/s while the rest was measured; nullopt: nothing was replayed
  std::int64_t segment_to_copy = 0;          // bytes of WAL that the promotion copies; 0: it is aligned
  std::optional<Duration> last_promotion{};  // of this server, in the newest report that has one
  std::optional<PromotionWork> promotion_work{};
};

struct Prediction {
  struct Part {
    std::string step;
    Duration took{};
    std::string from;  // what it was made of
  };
  std::vector<Part> parts;
  Duration total() const;
};

/// The oldest transaction that a driver waits for when it is told to stop: through a pooler, it may not be ended.
/// Throws what Node and Traffic throw.
std::optional<OldestTransaction> holds_up_traffic(Cutover& cutover);

/// Asks both servers and the traffic drivers, and writes one file into STATE_DIR; the servers are only read from.
/// Throws what Node throws.
Measured measure(Cutover& cutover);

/// Pure.
Prediction predict(const Measured& measured);

/// Both. nullopt when something could not be asked; the cutover goes on without it.
std::optional<Prediction> try_predict(Cutover& cutover);

/// Empty when the cutover's prediction keeps its budget, or is missing; otherwise both, in words.
std::string too_long(const Cutover& cutover);

nlohmann::json prediction_to_json(const Prediction& prediction);

}  // namespace pgrm::agent
