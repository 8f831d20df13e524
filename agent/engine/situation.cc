#include "agent/engine/situation.h"

#include <fmt/format.h>

#include <future>
#include <ostream>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/replication/sample.h"

namespace pgrm::agent {
namespace {

/// A refusal for the fence's reasons, or because it is a standby, holds for every other ordinary client as well.
std::optional<bool> as_answer(const WriteProbe& probe) {
  if (probe.accepted) return true;
  return probe.read_only || probe.shut_out ? std::optional(false) : std::nullopt;
}

void take_over(const Identity& identity, ServerSeen& seen) {
  seen.unseen.clear();
  seen.system_identifier = identity.system_identifier;
  seen.in_recovery = identity.in_recovery;
  seen.started_at = identity.started_at;
  seen.timeline = identity.timeline;
}

/// Returns whether it has let us in.
bool identify(Server& server, std::future<Identity> identity, ServerSeen& seen) {
  try {
    take_over(identity.get(), seen);
    server.admin->disconnect();  // a session may outlive its server
    return true;
  } catch (const std::exception& failure) {
    seen.unseen = failure.what();
    return false;
  }
}

/// A server that lets nobody in (a lock on pg_database does that, and replay takes it to a standby) may still say over
/// an open session what it is.
void ask_open_session(Node& admin, Duration deadline, ServerSeen& seen) {
  if (!admin.is_connected()) return;
  const std::string refusal = seen.unseen;
  try {
    take_over(admin.identity(deadline), seen);
    seen.refusal = refusal;
  } catch (const std::exception&) {  // it stays unseen
  }
}

/// What an ordinary client and the catalogs say.
void look_closer(Server& server, Trying how, Duration deadline, ServerSeen& seen) {
  try {
    const FenceView view = server.admin->fence_view(deadline);
    seen.markers = view.markers;
    seen.fence = see_fence(*server.admin, view, deadline);
    const Attack attack{.role = {}, .overrides_read_only = false, .writes = how == Trying::writing};
    const WriteProbe probe = server.application->attack(attack, deadline).get();
    seen.takes_writes = as_answer(probe);
    seen.refusal = probe.refusal;
  } catch (const std::exception& failure) {
    seen.refusal = failure.what();  // its role is known all the same, and counts
  }
}

/// A name that a hook or a person has moved may lead to the other server.
void tell_apart(Situation& now, std::uint32_t old_timeline) {
  ServerSeen& old = now.old_primary;
  ServerSeen& fresh = now.new_primary;
  const bool as_before = old.promoted() && old.timeline == old_timeline;
  if (is_one_server(now)) {
    ServerSeen& moved = as_before ? fresh : old;
    moved = {.address = moved.address, .unseen = "it leads to " + (as_before ? old : fresh).address};
    return;
  }
  old.elsewhere = old.promoted() && old.timeline && !as_before;
  // A replica that was started without standby.signal is one, too: where the old primary is seen, they differ.
  if ((!old.seen() || old.elsewhere) && fresh.promoted() && fresh.timeline == old_timeline) {
    fresh = {.address = fresh.address, .unseen = "a primary on the old primary's timeline answers there"};
  }
}

}  // namespace

bool is_one_server(const Situation& situation) {
  const ServerSeen& one = situation.old_primary;
  const ServerSeen& other = situation.new_primary;
  return one.seen() && other.seen() && one_server(one, other);
}

Situation look_around(Servers& servers, const PairByRole& pair, Trying how, Duration deadline,
                      std::optional<std::uint32_t> old_timeline,
                      const std::function<void(const ServerSeen&)>& replica_seen) {
  auto old_identity = servers.old_primary.admin->fresh_identity(deadline);
  auto new_identity = servers.new_primary.admin->fresh_identity(deadline);
  Situation now{{.address = pair.old_primary.address(), .unseen = {}},
                {.address = pair.new_primary.address(), .unseen = {}}};
  const bool into_old = identify(servers.old_primary, std::move(old_identity), now.old_primary);
  const bool into_new = identify(servers.new_primary, std::move(new_identity), now.new_primary);
  if (!into_new) ask_open_session(*servers.new_primary.admin, deadline, now.new_primary);
  if (old_timeline) tell_apart(now, *old_timeline);
  if (replica_seen && now.new_primary.seen()) replica_seen(now.new_primary);
  if (into_old && now.old_primary.seen()) look_closer(servers.old_primary, how, deadline, now.old_primary);
  if (into_new && now.new_primary.seen()) look_closer(servers.new_primary, how, deadline, now.new_primary);
  return now;
}

std::string writable_now(const Situation& situation) {
  std::string writable, unknown;
  std::vector<const ServerSeen*> servers{&situation.old_primary, &situation.new_primary};
  if (is_one_server(situation)) servers.pop_back();
  for (const ServerSeen* const server : servers) {
    if (server->seen() && server->takes_writes == true) {
      writable += (writable.empty() ? "" : " and ") + server->address;
    } else if (!server->seen() || !server->takes_writes) {
      unknown += (unknown.empty() ? "" : " and ") + server->address;
    }
  }
  if (unknown.empty()) return writable.empty() ? "none" : writable;
  return fmt::format("{}; {} cannot be told", writable.empty() ? "unknown" : writable, unknown);
}

std::string describe(const ServerSeen& server) {
  if (!server.seen()) return fmt::format("{} is not seen: {}", server.address, server.unseen);
  std::string text = fmt::format("{} {}", server.address, server.in_recovery ? "is a standby" : "is a primary");
  if (server.timeline) text += fmt::format(" on timeline {}", *server.timeline);
  if (!server.takes_writes) {
    text += ", whether it takes writes cannot be told: " + server.refusal;
  } else {
    text += *server.takes_writes ? ", takes writes" : ", takes no writes";
  }
  if (!server.fence.in_force.empty()) text += ", fenced by " + server.fence.in_force;
  if (!server.fence.armed.empty()) text += ", to be fenced by " + server.fence.armed + " with its next reload";
  return text;
}

void print(std::ostream& out, const Situation& situation) {
  out << fmt::format("  {:<22} {}\n    {}\n    {}\n", "writable now", writable_now(situation),
                     describe(situation.old_primary), describe(situation.new_primary));
  if (is_one_server(situation)) out << "    both names lead to one server\n";
}

nlohmann::json situation_to_json(const Situation& situation) {
  auto servers = nlohmann::json::array();
  for (const ServerSeen* const server : {&situation.old_primary, &situation.new_primary}) {
    nlohmann::json seen{{"address", server->address}, {"seen", server->seen()}, {"text", describe(*server)}};
    if (server->seen()) {
      seen["in_recovery"] = server->in_recovery;
      seen["takes_writes"] = server->takes_writes ? nlohmann::json(*server->takes_writes) : nlohmann::json();
      seen["fence"] = server->fence.in_force;
      seen["fence_armed"] = server->fence.armed;
    }
    servers.push_back(std::move(seen));
  }
  return {{"writable_now", writable_now(situation)}, {"servers", std::move(servers)}};
}

}  // namespace pgrm::agent
