#include "agent/base/servers.h"

#include <fmt/format.h>

#include "agent/base/parallel.h"
#include "core/base/error.h"
#include "core/pg/server_node.h"

namespace pgrm::agent {
namespace {

constexpr std::size_t sessions_at_a_time = 4;

std::vector<DatabaseAnswer> ask_each(const Conninfo& server, const NodeOptions& options,
                                     const std::vector<std::string>& databases, Duration deadline) {
  std::vector<DatabaseAnswer> answers(databases.size());
  each_of(databases.size(), sessions_at_a_time, [&](std::size_t i) {
    try {
      answers[i].facts = make_server_node(server.with("dbname", databases[i]), options)->database_facts(deadline);
    } catch (const Error& error) {
      answers[i].error = error.what();
    }
  });
  return answers;
}

}  // namespace

Servers make_servers(const PairByRole& pair, const std::string& token, const std::vector<Conninfo>& siblings,
                     const OnServerStatement& told) {
  const auto options_for = [&](const Conninfo& server) {
    NodeOptions options{.application_name = "pgrm-agent/" + token, .observer_timeout = std::nullopt};
    if (told) options.told = [told, address = server.address()](const std::string& sql) { told(address, sql); };
    return options;
  };
  const auto admin = [&](const Conninfo& server) {
    return make_server_node(server.with("dbname", pair.maintenance_database), options_for(server));
  };
  const auto both = [&](const Conninfo& server) {
    const NodeOptions options = options_for(server);
    NodeOptions watching = options;
    watching.observer_timeout = warm_statement_timeout;
    NodeOptions counting = options;
    counting.observer_timeout = workload_statement_timeout;
    return Server{admin(server), make_server_node(server, options),
                  [server, options](const std::vector<std::string>& databases, Duration deadline) {
                    return ask_each(server, options, databases, deadline);
                  },
                  [server, watching](const std::string& database) {
                    return make_buffers(server.with("dbname", database), watching);
                  },
                  [server, counting] { return make_workload_observer(server, counting); }};
  };
  Servers servers{both(pair.old_primary), both(pair.new_primary), admin(pair.old_primary)};
  for (const Conninfo& sibling : siblings) {
    servers.siblings.push_back(make_server_node(sibling, options_for(sibling)));
  }
  return servers;
}

void refuse_strangers(Servers& servers, std::uint32_t old_timeline) {
  const auto not_old = [old_timeline](const Identity& seen) {
    if (seen.in_recovery || !seen.timeline || *seen.timeline == old_timeline) return std::string();
    return fmt::format("leads to a primary on timeline {}, the old primary is on {}", *seen.timeline, old_timeline);
  };
  const auto not_new = [old_timeline](const Identity& seen) {
    const bool as_before = !seen.in_recovery && seen.timeline == old_timeline;
    return std::string(as_before ? "leads to a primary on the old primary's timeline" : "");
  };
  for (Node* const node :
       {servers.old_primary.admin.get(), servers.old_primary.application.get(), servers.lock.get()}) {
    node->refuse_strangers(not_old);
  }
  for (Node* const node : {servers.new_primary.admin.get(), servers.new_primary.application.get()}) {
    node->refuse_strangers(not_new);
  }
}

}  // namespace pgrm::agent
