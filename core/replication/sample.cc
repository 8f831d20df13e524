#include "core/replication/sample.h"

#include <exception>
#include <utility>

#include "core/base/error.h"

namespace pgrm {

std::string_view to_string(Side side) { return side == Side::primary ? "primary" : "replica"; }

void not_seen(ServerSample& node) {
  node.state.reset();
  try {
    throw;
  } catch (const Error& error) {
    node.error = error.what();
    node.error_name = error.name();
  } catch (const std::exception& surprise) {
    node.error = surprise.what();
    node.error_name = error_row(ErrorCode::internal).name;
  }
}

ServerSample take_look(std::string address, const Clock& clock, const std::function<ServerState()>& observe) {
  ServerSample sample;
  sample.address = std::move(address);
  sample.began_at = clock.wall();
  sample.began_mono = clock.now();
  try {
    sample.state = observe();
  } catch (const std::exception&) {
    not_seen(sample);
  }
  sample.took = clock.now() - sample.began_mono;
  return sample;
}

ServerSample look_at(Node& node, const Clock& clock, Duration deadline) {
  return take_look(node.address(), clock, [&] { return node.observe(deadline); });
}

Sample observe_pair(Node& primary, Node& replica, std::uint64_t generation, const Clock& clock, Duration deadline) {
  Sample sample;
  sample.generation = generation;
  sample.sampled_at = clock.wall();
  sample.sampled_mono = clock.now();
  sample.replica = look_at(replica, clock, deadline);
  sample.primary = look_at(primary, clock, deadline);
  sample.took = clock.now() - sample.sampled_mono;
  return sample;
}

std::optional<bool> read_only(const ServerState& state) {
  if (!state.read_only_hidden_by.empty()) return std::nullopt;
  return state.default_read_only;
}

std::optional<bool> known_to_take_writes(const ServerState& state) {
  if (state.in_recovery) return false;
  const auto answer = read_only(state);
  return answer ? std::optional(!*answer) : std::nullopt;
}

bool takes_writes(const ServerState& state) { return known_to_take_writes(state) == true; }

bool one_server(const Sample& sample) {
  const auto& primary = sample.primary.state;
  const auto& replica = sample.replica.state;
  return primary && replica && one_server(*primary, *replica);
}

std::optional<Side> writable_side(const Sample& sample) {
  const bool primary = sample.primary.state && takes_writes(*sample.primary.state);
  const bool replica = sample.replica.state && takes_writes(*sample.replica.state);
  if (primary == replica) return std::nullopt;
  return primary ? Side::primary : Side::replica;
}

}  // namespace pgrm
