// The connections that a cutover holds, all opened before the first change.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/base/options.h"
#include "core/pg/buffers.h"
#include "core/pg/node.h"
#include "core/pg/workload.h"

namespace pgrm::agent {

/// What a look at a large cache, or one piece of loading it, may take.
inline constexpr Duration warm_statement_timeout = std::chrono::minutes(1);

/// What a look at all statements may take.
inline constexpr Duration workload_statement_timeout = std::chrono::seconds(5);

/// What one database says of itself.
struct DatabaseAnswer {
  DatabaseFacts facts;
  std::string error;  // empty: it answered
};

struct Server {
  std::unique_ptr<Node> admin;        // maintenance database: questions, fence, promotion
  std::unique_ptr<Node> application;  // application database: probes
  /// Asks each of these databases over a session of its own, several at a time. Answers in their order.
  std::function<std::vector<DatabaseAnswer>(const std::vector<std::string>& databases, Duration deadline)>
      ask_databases{};
  std::function<std::unique_ptr<Buffers>(const std::string& database)> buffers{};  // its cache, seen from there
  std::function<std::unique_ptr<WorkloadObserver>()> workload{};  // application database: what the application does
};

/// By what they are in this cutover, before and after the promotion.
struct Servers {
  Server old_primary, new_primary;
  std::unique_ptr<Node> lock;  // a session of its own on the old primary: losing it loses the lock, and is seen
  std::vector<std::unique_ptr<Node>> siblings{};  // the old primary's other standbys, if they shall follow
};

/// From now on no session opens when a name leads to the other server, because a hook or a person has moved it: of the
/// two, only the old primary is a primary on `old_timeline`.
void refuse_strangers(Servers& servers, std::uint32_t old_timeline);

/// Is told every statement before it is sent, with the server's address, from whatever thread.
using OnServerStatement = std::function<void(const std::string& address, const std::string& sql)>;

/// `token`: makes the agent's own sessions recognisable (application_name "pgrm-agent/token"). `told` may be empty.
Servers make_servers(const PairByRole& pair, const std::string& token, const std::vector<Conninfo>& siblings = {},
                     const OnServerStatement& told = {});

}  // namespace pgrm::agent
