// How the application is told to stop, to move and to go on. One interface; a row in traffic.cc for each driver.
#pragma once

#include <future>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "agent/base/options.h"
#include "core/http/client.h"

namespace pgrm::agent {

/// What drivers are told about the cutover: hooks get it as PGRM_* in their environment.
struct TrafficContext {
  std::string cutover_id;
  std::string old_primary;  // host:port
  std::string new_primary;
  std::string database;
};

/// When a driver acts: the calls of Traffic.
enum class TrafficCall { stop, after_fence, resume_on_new, resume_on_old };

/// Every order throws Error when it fails within its budget.
class Traffic {
 public:
  virtual ~Traffic() = default;
  virtual std::string name() const = 0;
  /// What the driver does in that call, an order a line, as it stands now. Changes nothing. Throws Error.
  virtual std::vector<std::string> orders(TrafficCall call) = 0;
  /// Empty when ready to stop; otherwise why not. Changes nothing.
  virtual std::string problem() = 0;
  /// The old primary's backends whose transactions stop() waits for, as it stands now. Throws Error.
  virtual std::vector<int> waits_for() { return {}; }
  /// Returns when no write is in flight any more.
  virtual void stop(Duration budget) = 0;
  virtual void after_fence(Duration) {}
  /// The new primary takes writes. A failure leaves the cutover unfinished, unless nobody is there any more
  /// (Error(unreachable)).
  virtual void resume_on_new(Duration budget) = 0;
  /// The old primary takes writes again. Safe also when stop() failed half-way.
  virtual void resume_on_old(Duration budget) = 0;
  /// Whether the application is held up from stop() to a resume, so that its open sessions write nothing.
  virtual bool holds_application() const { return true; }
  /// How to give it an order beside those of other drivers: std::async(driver.beside(), …).
  virtual std::launch beside() const { return std::launch::async; }
};

using Traffics = std::vector<std::unique_ptr<Traffic>>;

std::unique_ptr<Traffic> make_loadgen_traffic(std::unique_ptr<http::Client> loadgen);
/// The executables `hooks` (pre_fence, post_fence, post_promote, on_undo) in `directory`. One that is named and no
/// longer there is an error, never skipped.
std::unique_ptr<Traffic> make_hook_traffic(std::string directory, std::vector<std::string> hooks,
                                           TrafficContext context);

/// The drivers that the options ask for; none is fine: clients then find the new primary by themselves.
Traffics make_traffics(const Options& options, const TrafficContext& context);

}  // namespace pgrm::agent
