// What the steps do, a function each; the table that puts them in order is steps.cc. Contracts: steps.h.
#pragma once

#include <functional>
#include <future>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "agent/engine/context.h"
#include "core/base/error.h"
#include "core/base/wait.h"

namespace pgrm::agent {

// readying.cc
std::string preview_preflight(Cutover& cutover);
std::string run_preflight(Cutover& cutover);
std::string preview_wait_sync(Cutover& cutover);
std::string run_wait_sync(Cutover& cutover);
std::string preview_prepare(Cutover& cutover);
std::string run_prepare(Cutover& cutover);
std::string preview_hold(Cutover& cutover);
std::string run_hold(Cutover& cutover);
std::string preview_moment(Cutover& cutover);
std::string run_moment(Cutover& cutover);

// warming.cc
std::string preview_warm(Cutover& cutover);
std::string run_warm(Cutover& cutover);
/// What changed since; a part of the evidence of `prepare`, empty when nothing is to be warmed. Never throws Error.
std::string warm_again(Cutover& cutover);

// comparing.cc: looks for the comparison. They never throw Error, and none is taken while writes are stopped.
void look_at_begin(Cutover& cutover);
void look_at_end(Cutover& cutover);
void look_at_opened(Cutover& cutover);

// stopping.cc
std::string preview_arm_fence(Cutover& cutover);
nlohmann::json before_arm_fence(Cutover& cutover);
void recall_arm_fence(Cutover& cutover, const nlohmann::json& before);
std::string run_arm_fence(Cutover& cutover);
void undo_arm_fence(Cutover& cutover, const nlohmann::json& before);
std::string preview_stop_traffic(Cutover& cutover);
std::string run_stop_traffic(Cutover& cutover);
void undo_stop_traffic(Cutover& cutover, const nlohmann::json& before);
std::string preview_fence(Cutover& cutover);
std::string run_fence(Cutover& cutover);
void undo_fence(Cutover& cutover, const nlohmann::json& before);
std::string preview_final_verification(Cutover& cutover);
std::string run_final_verification(Cutover& cutover);

// promoting.cc
std::string preview_promote(Cutover& cutover);
nlohmann::json before_promote(Cutover& cutover);
void recall_promote(Cutover& cutover, const nlohmann::json& before);
std::string run_promote(Cutover& cutover);
std::string preview_validate(Cutover& cutover);
std::string run_validate(Cutover& cutover);
std::string preview_open(Cutover& cutover);
std::string run_open(Cutover& cutover);

// demoting.cc
std::string preview_demote_old(Cutover& cutover);
std::string run_demote_old(Cutover& cutover);
std::string preview_drain_old(Cutover& cutover);
std::string run_drain_old(Cutover& cutover);

// What they share.

constexpr auto tick = std::chrono::milliseconds(1);  // while writes are stopped, nothing polls slower

/// Several troubles in one line.
inline void add_trouble(std::string& troubles, const std::string& one) {
  if (!one.empty()) troubles += (troubles.empty() ? "" : "; ") + one;
}

inline Node& old_admin(Cutover& cutover) { return *cutover.servers.old_primary.admin; }
inline Node& new_admin(Cutover& cutover) { return *cutover.servers.new_primary.admin; }

/// wait_until() for conditions before the point of no return: a request to stop becomes an Error.
template <typename Condition>
bool waited(Cutover& cutover, Duration budget, Duration poll, Condition&& reached) {
  const WaitEnd end = wait_until(cutover.clock, budget, poll, cutover.stop, std::forward<Condition>(reached));
  if (end == WaitEnd::stopped) throw Error(ErrorCode::undone, "interrupted");
  return end == WaitEnd::reached;
}

/// The answer to `question` about `server`; nullopt: it does not answer. A session that has died says nothing about its
/// server, which somebody may have restarted: then a new one is asked.
template <typename Question>
auto seen_anew(Node& server, Question&& question) -> std::optional<decltype(question())> {
  for (int time = server.is_connected() ? 0 : 1; time < 2; ++time) {
    try {
      return question();
    } catch (const Error&) {
      server.disconnect();
    }
  }
  return std::nullopt;
}

/// What is left of the write pause: no wait behind a stopped application takes longer. Throws Error(pause_exceeded)
/// when it is used up. An agent that recovers has no such budget.
Duration left_of_pause(const Cutover& cutover);

/// For one question on the critical path, within a wait that has its budget.
Duration call_deadline(const Cutover& cutover);

/// Whether this agent has stopped the application, and has not let it go on yet.
bool application_waits(const Cutover& cutover);

/// For one question of an undo. While the application waits it is half of what is left until a second after the budget
/// of the pause, though never less than shortest_call; what could not be undone by then is tried again once it goes on.
Duration undo_deadline(const Cutover& cutover);

/// How long a replica that is not seen is looked for before an undo: Options::blind_patience, and at most a second
/// while the application waits.
Duration patience_with_unseen(const Cutover& cutover);

/// Begins to ask whether this cutover has the cluster's lock. `get()` throws Error(connection_lost) when it has not.
[[nodiscard]] std::future<void> prove_lock(Cutover& cutover);

/// Writes the settings of the fence anew, raises it on the old primary and proves it. For what somebody else has taken
/// away. REQUIRES cutover.plan. Throws Error when it does not hold.
void raise_fence_again(Cutover& cutover);

/// Lets one driver's application go on by `order`, and the others in any case: a failure is a warning. Returns it when
/// it has to be tried again; an application that is gone needs nobody to let it go on.
std::string resumed(Cutover& cutover, const Traffic& driver, const std::function<void()>& order);

/// The old primary opens again, behind the other layers of the fence, so that a host list that names it first gets past
/// it: libpq goes on to the next host after a failed read-write test, but not after "not accepting connections".
void reopen_old(Cutover& cutover);

}  // namespace pgrm::agent
