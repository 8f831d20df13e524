// The fence: no client writes to the old primary any more, and none of the sessions that could is left.
//
// Its layers (PostgreSQL manual, chapters 20 and 23), and whom each one holds:
//
//   read-only  default_transaction_read_only = on for every new transaction.
//              Holds every client that does not ask for READ WRITE itself.
//
//   wedge      synchronous_standby_names names a standby that does not exist.
//              Holds up the commit of a client that passes the first layer. It does not refuse the commit: a client
//              that cancels its wait (time-outs of drivers do that) gets a warning and an acknowledgement, and one with
//              synchronous_commit = off or local does not wait at all. The name carries the cutover's id, so that
//              anybody who looks at the server can tell whose fence this is.
//
//   gate       ALLOW_CONNECTIONS false on every application database.
//              Holds everybody, superusers included, from being let in. It is a row of a catalog and replicates: the
//              new primary comes up closed.
//
//   end        of every session that began before all that, verified until none is left.
//
// The first two are node-local. The form `closed` has all four layers, `read_only` all but the gate.
#pragma once

#include <future>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/options.h"
#include "agent/base/servers.h"
#include "core/base/clock.h"
#include "core/pg/node.h"

namespace pgrm::agent {

/// The shortest deadline of a call while writes are stopped, however little is left: a shorter one could only time out,
/// and its error would hide what the time was spent on.
inline constexpr Duration shortest_call = std::chrono::milliseconds(250);

/// The name of the standby that does not exist, for the fence of this cutover.
std::string wedge_of(std::string_view cutover_id);

/// Whose fence these settings are: the wedge's name, whatever cutover it belongs to; empty when they are no fence's.
std::string fence_in(const Overrides& settings);

/// Whose fence a server carries, by its settings; empty: none.
struct FenceSeen {
  std::string in_force, armed;  // `armed`: in the configuration only, and only looked for when none is in force

  bool any() const { return !in_force.empty() || !armed.empty(); }
  const std::string& whose() const { return in_force.empty() ? armed : in_force; }
};
/// `view`: that server's. Throws what Node throws.
FenceSeen see_fence(Node& admin, const FenceView& view, Duration deadline);

/// What a fence is going to change, and what lifting it restores. In the journal before anything is changed.
struct FencePlan {
  FenceForm form = FenceForm::closed;
  Overrides before;
  std::vector<std::string> databases;      // to be closed: those that were open, the application's first
  std::vector<std::string> subscriptions;  // to be disabled: those that were enabled
  std::string owner;                       // of the application's database: the fence is attacked in this role
  std::string wedge;                       // wedge_of() its cutover

  /// What ALTER SYSTEM sets. In the configuration beforehand; raise_fence() brings it into effect.
  Overrides settings() const { return {.read_only = "on", .standby_names = wedge}; }
  nlohmann::json to_json() const;
  static FencePlan from_json(const nlohmann::json& json);
};

/// The form that `wanted` and the rights on the databases come to, with the reason; nullopt when `wanted` is out of
/// reach.
struct FenceChoice {
  std::optional<FenceForm> form;
  std::string reason, hint;
};
FenceChoice choose_fence(std::optional<FenceForm> wanted, const std::vector<Database>& databases);

/// Throws Error(permission_denied) when the wanted form or a subscription is out of reach, Error(proof_failed) for what
/// no fence holds: prepared transactions, roles with a read-only setting of their own.
FencePlan plan_fence(const FenceView& view, const Options& options, std::string_view cutover_id);

struct Fence {
  int sessions_ended = 0;
  std::future<WriteProbe> attacked{};  // over a new connection; logging in takes its time
};

/// Logs in as the attack on the fence is going to, and writes nothing. The first such login takes several times as
/// long; and one that fails now would prove nothing later. Throws Error(proof_failed), and what Node throws.
void rehearse_attack(Server& server, const FencePlan& plan, Duration deadline);

/// Idempotent. REQUIRES plan.settings() in the configuration. Returns when all layers are up and no client session
/// from before is left; `budget` covers all of it. An attack over a new connection is on its way: nothing may rest on
/// the fence before prove_layers() and require_repulsed(). Unless the application is `paused`, its open sessions go on
/// writing while the attack on a gate logs in. Throws Error(timeout) with the sessions that are still there, and
/// whatever Node throws.
Fence raise_fence(Server& server, const FencePlan& plan, bool paused, const Clock& clock, Duration budget);

/// Ends the sessions behind a gate that is shut: an owner may have opened it meanwhile. Returns how many there were.
/// Throws Error(timeout) with those that are still there after `budget`, and what Node throws.
int end_gated_sessions(Server& server, const FencePlan& plan, const Clock& clock, Duration budget);

/// Looks at every layer, and tries to write over a session from before. Throws Error(proof_failed) for a layer that
/// does not hold.
void prove_layers(Server& server, const FencePlan& plan, const std::string& cutover_id, Duration deadline);

/// Waits for the attack that raise_fence() has begun. Throws Error(proof_failed) when it got through,
/// and what it threw.
void require_repulsed(Fence& fence, const FencePlan& plan);

/// Tries to write as clients would, in every way that the form must withstand. Throws Error(proof_failed).
void attack_fence(Server& server, const FencePlan& plan, const std::string& cutover_id, Duration deadline);

/// Idempotent, on the old primary, and proves by a write over a new connection that it takes writes again. Layer by
/// layer, the gate first. A layer that is not as the fence left it stays. One that cannot be lifted keeps no other one
/// from being lifted. All databases are opened in one transaction, or one by one when that fails. Throws
/// Error(undecided) that names what is left, and what Node throws when the server cannot be looked at.
void lift_fence(Server& server, const FencePlan& plan, const Clock& clock, Duration deadline);

/// The settings alone, for a fence that was armed and never raised. Only those that are still the plan's.
void disarm_fence(Server& server, const FencePlan& plan, Duration deadline);

/// Idempotent, on the new primary: lifts what came over by replication.
void lift_replicated_fence(Server& server, const FencePlan& plan, Duration deadline);

/// What such an old primary is worth, in plain words, for the report.
std::string_view strength_of(Demotion demotion);

}  // namespace pgrm::agent
