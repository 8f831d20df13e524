// One round of observation of the pair. Immutable once published; every reader of a round reads the same object.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/clock.h"
#include "core/pg/node.h"
#include "core/replication/catch_up.h"

namespace pgrm {

/// The servers by their configured names: after a cutover `replica` is the one that takes writes.
enum class Side { primary, replica };

inline constexpr std::array both_sides{Side::primary, Side::replica};

std::string_view to_string(Side side);

struct ServerSample {
  std::optional<ServerState> state;  // nullopt: not reachable in this round
  std::string address;               // "host:port"
  std::string error;                 // why there is no state
  std::string error_name;            // Error::name(): a small, fixed set, fit for a label
  WallTime began_at{};               // when this look began: what it saw is no older than this
  Mono began_mono{};
  Duration took{};
};

struct Sample {
  std::uint64_t generation = 0;  // 1, 2, 3, … since the start of the program
  WallTime sampled_at{};         // when the round began: what it saw is no older than this
  Mono sampled_mono{};
  Duration took{};
  ServerSample primary, replica;
  std::optional<CatchUp> catch_up;  // nullopt: not probed, or not known

  const ServerSample& operator[](Side side) const { return side == Side::primary ? primary : replica; }
  ServerSample& operator[](Side side) { return side == Side::primary ? primary : replica; }
};

/// Takes the exception that is being handled for the reason why the server was not seen in this round.
void not_seen(ServerSample& node);

/// One look, as `observe` takes it. Never throws: what goes wrong stands in the result.
ServerSample take_look(std::string address, const Clock& clock, const std::function<ServerState()>& observe);

/// Looks at one server. Never throws: what goes wrong stands in the result.
ServerSample look_at(Node& node, const Clock& clock, Duration deadline);

/// Looks at both servers, the replica first: what the primary writes in between can only make the lag look larger.
/// Never throws, as above. `deadline` is for each of them.
Sample observe_pair(Node& primary, Node& replica, std::uint64_t generation, const Clock& clock, Duration deadline);

/// Whether new sessions are read-only by default. nullopt: something of the observer's own hides it.
std::optional<bool> read_only(const ServerState& state);

/// Whether it is out of recovery and a new session can write without asking for it. nullopt: as read_only().
std::optional<bool> known_to_take_writes(const ServerState& state);

/// Whether it is seen to take writes: what is not known is no.
bool takes_writes(const ServerState& state);

/// Whether two names lead to one server, which looks like a pair of the same cluster. By what was seen over either.
template <typename Seen>
bool one_server(const Seen& one, const Seen& other) {
  return one.system_identifier == other.system_identifier && one.started_at == other.started_at;
}

/// Both addresses lead to the same server: one is a name that a cutover moves, or both are a pooler.
bool one_server(const Sample& sample);

/// The node that takes writes, when exactly one is seen to. A primary that is fenced or was demoted to read-only is
/// none.
std::optional<Side> writable_side(const Sample& sample);

}  // namespace pgrm
