// One look at the world: what both servers are right now. Whatever decides or claims something about the pair uses it:
// undo, recovery, the guard, "writable now", status.
#pragma once

#include <cstdint>
#include <functional>
#include <iosfwd>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "agent/base/servers.h"
#include "agent/fence/fence.h"
#include "core/pg/conninfo.h"

namespace pgrm::agent {

struct ServerSeen {
  std::string address;  // host:port
  std::string unseen;   // why it cannot be seen; empty: it was seen, and the rest is known
  std::string system_identifier{};
  bool in_recovery = false;
  WallTime started_at{};
  std::optional<std::uint32_t> timeline{};
  /// Tried over a new connection, as an ordinary client; nullopt: the answer says nothing about other clients.
  std::optional<bool> takes_writes{};
  std::string refusal{};  // what it said, when it does not take them
  FenceSeen fence{};
  std::vector<std::string> markers{};  // of cutovers that have not come to their end, see marker.h

  bool elsewhere = false;  // of the old primary: a primary on another timeline answers there, not the new primary

  bool seen() const { return unseen.empty(); }
  /// Out of recovery; false also when it is not seen.
  bool promoted() const { return seen() && !in_recovery; }
};

/// `old_primary` and `new_primary` as the cutover names them.
struct Situation {
  ServerSeen old_primary, new_primary;
};

/// How look_around() finds out which server takes writes.
enum class Trying {
  asking,   // opens a transaction and asks whether it may write: uses no transaction id
  writing,  // writes a row and rolls it back
};

/// Asks both servers at once over new connections; `deadline` for each question. A replica that lets nobody in is asked
/// over the open session. With `old_timeline`, that of the old primary, a server under the other one's name counts as
/// not seen. `replica_seen` is called as soon as it is known what the replica is, before anything else is asked. Never
/// throws Error: a server that does not answer is a part of the situation.
Situation look_around(Servers& servers, const PairByRole& pair, Trying how, Duration deadline,
                      std::optional<std::uint32_t> old_timeline = {},
                      const std::function<void(const ServerSeen&)>& replica_seen = {});

/// Whether both names lead to one server.
bool is_one_server(const Situation& situation);

/// Which server takes writes, in words: an address; both; "none"; or "unknown" with the server that cannot be seen.
std::string writable_now(const Situation& situation);

/// Both of the above and below, as lines for a terminal.
void print(std::ostream& out, const Situation& situation);

/// One line a server: role, timeline, whether it takes writes or why not, whose fence.
std::string describe(const ServerSeen& server);

nlohmann::json situation_to_json(const Situation& situation);

}  // namespace pgrm::agent
