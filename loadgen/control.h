// loadgen's HTTP: metrics, state, and the orders that a cutover gives.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "core/base/secret.h"
#include "core/http/server.h"

namespace pgrm::loadgen {

/// What the orders do; all are called from several threads.
struct Controls {
  /// Holds all operations back; true when nothing is in flight and everything acknowledged is recorded.
  std::function<bool()> pause;
  std::function<void()> resume;
  std::function<void(double ops_per_second)> set_rate;
  std::function<nlohmann::json()> state;
  std::function<http::Response()> metrics;
};

/// Besides 0, which is as fast as it goes. Slower ones wait for longer than a time can say.
inline constexpr double min_ops_per_second = 0.001, max_ops_per_second = 1e6;

/// Who may give orders. With neither: every program on this machine.
struct Authority {
  Secret token{};          // a POST needs "Authorization: Bearer TOKEN"
  bool passwords = false;  // the server's own configuration demands one with every request
};

/// Adds GET /metrics, /healthz, /api/v1/state and POST /api/v1/pause, /resume, /rate to `server`. Throws
/// Error(configuration) for an authority of both kinds: one header cannot show both.
void add_controls(http::Server& server, Controls controls, const Authority& authority);

}  // namespace pgrm::loadgen
