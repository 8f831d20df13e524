// The read-only fence: no client writes to the old primary any more, and none of the sessions that could is left.
//
// What it is made of: default_transaction_read_only = on for every new transaction, and the end of every session that
// began before that was certain. What it is not: a wall. A client that asks for READ WRITE by itself gets it; the
// report says so (PostgreSQL manual, 20.11.1 "Statement Behavior").
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "core/base/clock.h"
#include "core/pg/node.h"

namespace pgrm::agent {

struct Fence {
  WallTime since{};  // server's time from which on every new session is read-only
  int sessions_ended = 0;
};

/// What lift_fence() restores.
nlohmann::json before_fence(Node& admin, Duration deadline);

/// Idempotent. Returns when no client session from before the fence is left; `budget` covers all of it.
/// Throws Error(timeout) with the sessions that are still there, and whatever Node throws.
Fence raise_fence(Node& admin, const Clock& clock, Duration budget);

/// Proves the fence by attacking it: throws Error(proof_failed) when a plain write is accepted.
void attack_fence(Node& application, const std::string& cutover, Duration deadline);

/// Idempotent. Restores what was there before and proves by a write that the server takes writes again.
void lift_fence(Node& admin, Node& application, const nlohmann::json& before, const std::string& cutover,
                Duration deadline);

}  // namespace pgrm::agent
