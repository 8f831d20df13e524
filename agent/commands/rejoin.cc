#include "agent/demote/rejoin.h"

#include <fmt/format.h>

#include <iostream>
#include <utility>

#include "agent/base/state_dir.h"
#include "agent/commands/invocation.h"
#include "core/base/error.h"
#include "core/base/json_text.h"

namespace pgrm::agent {
namespace {

/// With the direction that is seen: the old primary is the one that does not take writes.
Arguments with_direction(const Settings& settings, Arguments arguments, const std::string& id) {
  const Options options = options_from(settings);
  Servers seen = make_servers(options.pair, id);
  const Sample sample =
      observe_pair(*seen.old_primary.admin, *seen.new_primary.admin, 1, pgrm::system_clock(), options.call_deadline);
  arguments.switch_back = find_new_primary(sample) == Side::primary;
  return arguments;
}

Rejoin rejoin_of(Invocation& invocation, std::stop_token stop) {
  return {.old_primary = invocation.servers.old_primary,
          .new_primary = invocation.servers.new_primary,
          .control = *invocation.node_control,
          .options = invocation.options,
          .clock = pgrm::system_clock(),
          .stop = std::move(stop),
          .waits = [&invocation](const std::string& what) { invocation.progress.waits(what); }};
}

}  // namespace

int list_diverged(const Settings& settings, const Arguments& arguments, std::stop_token stop) {
  const std::string id = new_cutover_id(pgrm::system_clock().wall());
  const Arguments directed = with_direction(settings, arguments, id);
  Invocation invocation(options_of(settings, directed), directed, id);
  const std::vector<std::string> changes = diverged(rejoin_of(invocation, std::move(stop)));
  const std::string old = invocation.options.pair.old_primary.address(),
                    fresh = invocation.options.pair.new_primary.address();
  if (arguments.json) {
    std::cout << json_text({{"old_primary", old}, {"new_primary", fresh}, {"changes", changes}}, 2) << '\n';
  } else if (changes.empty()) {
    std::cout << fmt::format("{} has committed nothing that {} lacks\n", old, fresh);
  } else {
    std::cout << fmt::format("{} has committed what {} lacks (relation, kind of change, rows):\n", old, fresh);
    for (const std::string& change : changes) std::cout << "  " << change << '\n';
  }
  return changes.empty() ? 0 : error_row(ErrorCode::unfinished).exit_code;
}

int rejoin(const Settings& settings, const Arguments& arguments, std::stop_token stop, const LogTo& log_to) {
  const StateLock lock(state_dir_from(settings), patience_with_guard);
  const std::string id = new_cutover_id(pgrm::system_clock().wall());
  const Arguments directed = with_direction(settings, arguments, id);
  Invocation invocation(options_of(settings, directed), directed, id);
  const Options& options = invocation.options;
  if (!arguments.yes) {
    confirm(options,
            fmt::format("{} will be stopped, rewound and started as a standby of {}",
                        options.pair.old_primary.address(), options.pair.new_primary.address()),
            stop);
  }
  log_to(options.state_dir + "/rejoin.log");
  invocation.progress.begins("rejoin", "the old primary becomes a standby of the new one");
  const Mono start = pgrm::system_clock().now();
  Rejoin rejoin = rejoin_of(invocation, std::move(stop));
  rejoin.discard_diverged = arguments.discard_diverged;
  std::string evidence;
  try {
    evidence = make_standby(rejoin);
  } catch (const Error& error) {
    invocation.progress.ends("failed", pgrm::system_clock().now() - start, error.what());
    throw;
  }
  invocation.progress.ends("done", pgrm::system_clock().now() - start,
                           fmt::format("{} {}", options.pair.old_primary.address(), evidence));
  if (arguments.json) {
    std::cout << json_text({{"standby", options.pair.old_primary.address()},
                            {"primary", options.pair.new_primary.address()},
                            {"evidence", evidence}},
                           2)
              << '\n';
  }
  return 0;
}

}  // namespace pgrm::agent
