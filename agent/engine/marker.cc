#include "agent/engine/marker.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "core/base/error.h"

namespace pgrm::agent {
namespace {

std::string host_name() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "unknown";
}

}  // namespace

std::string marker_text(const std::string& cutover_id, const Options& options) {
  return fmt::format("{} on host {}, STATE_DIR {}", cutover_id, host_name(), options.state_dir);
}

bool is_marker_of(const std::string& marker, const std::string& cutover_id) {
  return marker.starts_with(cutover_id + " ");
}

std::string marker_on(const ServerSeen& server) {
  return server.takes_writes == true && !server.markers.empty() ? server.markers.front() : "";
}

void leave_marker(Cutover& cutover) {
  try {
    cutover.servers.old_primary.admin->set_marker(marker_text(cutover.id, cutover.options),
                                                  cutover.options.call_deadline);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::permission_denied) throw;
    cutover.warnings.push_back(fmt::format(
        "agents on other hosts cannot see that this cutover is under way: {}; run roles.sql again", error.what()));
  }
}

void take_marker_away(Cutover& cutover) {
  for (const auto& [seen, server] : {std::pair{&cutover.situation->old_primary, &cutover.servers.old_primary},
                                     std::pair{&cutover.situation->new_primary, &cutover.servers.new_primary}}) {
    const auto ours = [&](const std::string& marker) { return is_marker_of(marker, cutover.id); };
    if (seen->takes_writes != true || std::ranges::none_of(seen->markers, ours)) continue;
    try {
      server->admin->set_marker(std::nullopt, cutover.options.call_deadline);
    } catch (const std::exception& failure) {
      cutover.warnings.push_back(fmt::format(
          "the marker of this cutover is still on {}: {}; agent recover takes it away", seen->address, failure.what()));
    }
  }
}

}  // namespace pgrm::agent
