#include "agent/demote/rejoin.h"

#include <fmt/format.h>

#include <iostream>

#include "agent/base/state_dir.h"
#include "agent/commands/invocation.h"
#include "core/base/error.h"
#include "core/base/json_text.h"

namespace pgrm::agent {

int rejoin(const Settings& settings, const Arguments& arguments, std::stop_token stop, const LogTo& log_to) {
  const StateLock lock(state_dir_from(settings));
  const std::string id = new_cutover_id(pgrm::system_clock().wall());
  Arguments directed = arguments;
  {
    const Options options = options_from(settings);
    Servers seen = make_servers(options.pair, id);
    const Sample sample =
        observe_pair(*seen.primary.admin, *seen.replica.admin, 1, pgrm::system_clock(), options.call_deadline);
    directed.switch_back = find_new_primary(sample) == Side::primary;
  }
  Invocation invocation(options_of(settings, directed), directed, id);
  const Options& options = invocation.options;
  if (!arguments.yes) {
    confirm(options,
            fmt::format("{} will be stopped, rewound and started as a standby of {}", options.pair.primary.address(),
                        options.pair.replica.address()),
            stop);
  }
  log_to(options.state_dir + "/rejoin.log");
  invocation.progress.begins("rejoin", "the old primary becomes a standby of the new one");
  const Mono start = pgrm::system_clock().now();
  const Rejoin rejoin{invocation.servers.primary,
                      invocation.servers.replica,
                      *invocation.node_control,
                      options,
                      pgrm::system_clock(),
                      std::move(stop),
                      [&invocation](const std::string& what) { invocation.progress.waits(what); }};
  std::string evidence;
  try {
    evidence = make_standby(rejoin);
  } catch (const Error& error) {
    invocation.progress.ends("failed", pgrm::system_clock().now() - start, error.what());
    throw;
  }
  invocation.progress.ends("done", pgrm::system_clock().now() - start,
                           fmt::format("{} {}", options.pair.primary.address(), evidence));
  if (arguments.json) {
    std::cout << json_text({{"standby", options.pair.primary.address()},
                            {"primary", options.pair.replica.address()},
                            {"evidence", evidence}},
                           2)
              << '\n';
  }
  return 0;
}

}  // namespace pgrm::agent
