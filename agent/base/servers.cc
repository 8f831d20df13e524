#include "agent/base/servers.h"

#include "core/pg/server_node.h"

namespace pgrm::agent {

Servers make_servers(const Pair& pair, const std::string& token, const std::vector<Conninfo>& siblings) {
  const NodeOptions options{.application_name = "pgrm-agent/" + token, .observer_timeout = std::nullopt};
  const NodeOptions watching{.application_name = options.application_name, .observer_timeout = warm_statement_timeout};
  const auto admin = [&](const Conninfo& server) {
    return make_server_node(server.with("dbname", pair.maintenance_database), options);
  };
  const auto both = [&](const Conninfo& server) {
    return Server{admin(server), make_server_node(server, options),
                  [server, options](const std::string& database) {
                    return make_server_node(server.with("dbname", database), options);
                  },
                  [server, watching](const std::string& database) {
                    return make_buffers(server.with("dbname", database), watching);
                  }};
  };
  Servers servers{both(pair.primary), both(pair.replica), admin(pair.primary)};
  for (const Conninfo& sibling : siblings) servers.siblings.push_back(make_server_node(sibling, options));
  return servers;
}

}  // namespace pgrm::agent
