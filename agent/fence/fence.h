// The fence: no client writes to the old primary any more, and none of the sessions that could is left.
//
// Its layers (PostgreSQL manual, chapters 20 and 23):
//   read-only  default_transaction_read_only = on for every new transaction. A client that asks for READ WRITE by
//   itself
//              passes it.
//   wedge      synchronous_standby_names names a standby that does not exist: who passes the first layer gets no
//              acknowledgement for his commit, unless he gives up synchronous_commit as well. Node-local, like the
//              first.
//   gate       ALLOW_CONNECTIONS false on every application database: nobody gets in, superusers included. It is a row
//   of
//              a catalog, so it replicates: the new primary comes up closed, and the two are never open at once.
//   end        of every session that began before all that, verified until none is left.
// The form `closed` has all four, `read_only` all but the gate.
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

/// A standby of this name does not exist: nothing that waits for it is acknowledged.
inline constexpr auto wedge_name = "pgrm_demoted";

/// What ALTER SYSTEM has set on a fenced server. In the configuration beforehand; raise_fence() brings it into effect.
Overrides fenced_overrides();

/// What a fence is going to change, and what lifting it restores. In the journal before anything is changed.
struct FencePlan {
  FenceForm form = FenceForm::closed;
  Overrides before;
  std::vector<std::string> databases;      // to be closed: those that were open; one that was closed stays closed
  std::vector<std::string> subscriptions;  // to be disabled: those that were enabled
  std::string owner;                       // of the application's database: the fence is attacked in this role

  nlohmann::json to_json() const;
  static FencePlan from_json(const nlohmann::json& json);
};

/// The form that `wanted` and the rights on the databases come to, with the reason; nullopt when `wanted` cannot be
/// had.
struct FenceChoice {
  std::optional<FenceForm> form;
  std::string reason, hint;
};
FenceChoice choose_fence(std::optional<FenceForm> wanted, const std::vector<Database>& databases);

/// Throws Error(permission_denied) when the wanted form or a subscription is out of reach, Error(proof_failed) for what
/// no fence holds: prepared transactions, roles with a read-only setting of their own.
FencePlan plan_fence(const FenceView& view, const Options& options);

struct Fence {
  int sessions_ended = 0;
  std::future<WriteProbe> attacked{};  // over a new connection; logging in takes its time
};

/// Logs in as the attack on the fence is going to, and writes nothing. What nobody has done for a while takes several
/// times as long; and who does not get in now proves nothing later. Throws Error(proof_failed), and what Node throws.
void rehearse_attack(Server& server, const FencePlan& plan, Duration deadline);

/// Idempotent. REQUIRES fenced_overrides() in the configuration. Returns when all layers are up and no client session
/// from before is left; `budget` covers all of it. An attack over a new connection is on its way: nothing may rest on
/// the fence before prove_layers() and require_repulsed(). Unless the application is `paused`, its open sessions go on
/// writing while the attack on a gate logs in. Throws Error(timeout) with the sessions that are still there, and
/// whatever Node throws.
Fence raise_fence(Server& server, const FencePlan& plan, bool paused, const Clock& clock, Duration budget);

/// Looks at every layer, and tries to write over a session from before. Throws Error(proof_failed) for one that does
/// not hold.
void prove_layers(Server& server, const FencePlan& plan, const std::string& cutover, Duration deadline);

/// Waits for the attack that raise_fence() has begun. Throws Error(proof_failed) when it got through, and what it
/// threw.
void require_repulsed(Fence& fence, const FencePlan& plan);

/// Tries to write as clients would, in every way that the form must withstand. Throws Error(proof_failed).
void attack_fence(Server& server, const FencePlan& plan, const std::string& cutover, Duration deadline);

/// Idempotent, on the old primary. Restores what was there before and proves by a write that it takes writes again.
void lift_fence(Server& server, const FencePlan& plan, const std::string& cutover, Duration deadline);

/// Idempotent, on the new primary: lifts what came over by replication.
void lift_replicated_fence(Server& server, const FencePlan& plan, Duration deadline);

/// What such an old primary is worth, in plain words, for the report.
std::string_view strength_of(Demotion demotion);

}  // namespace pgrm::agent
