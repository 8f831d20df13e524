// The admin console of one PgBouncer (PgBouncer's manual, "Admin console").
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/clock.h"
#include "core/pg/conninfo.h"

namespace pgrm {

/// A row of SHOW DATABASES.
struct PoolerDatabase {
  std::string name;        // what clients ask for
  std::string host, port;  // where it sends them
  std::string pool_mode;   // session, transaction, statement; empty: the pooler's default
  bool paused = false;
};

/// Every call opens the connection when there is none. Not thread-safe. All throw Error: unreachable, authentication,
/// timeout (closed then, and the order may still be carried out), permission_denied (not an admin), query_failed.
class Pooler {
 public:
  virtual ~Pooler() = default;
  /// "pgbouncer@10.0.0.5:6432/pgbouncer"
  virtual std::string describe() const = 0;
  /// Without the console itself.
  virtual std::vector<PoolerDatabase> databases(Duration deadline) = 0;
  /// Of SHOW CONFIG; empty when this version does not have it.
  virtual std::string setting(std::string_view name, Duration deadline) = 0;
  /// A user whose own pool_mode is session, which counts for more than that of a database; empty when there is none.
  virtual std::string session_user(Duration deadline) = 0;
  /// The peer_id of each process that shares its clients (SHOW PEERS, 1.19+). Empty: it has no peers.
  virtual std::vector<std::string> peers(Duration deadline) = 0;
  /// The backends that `database` has at its server (SHOW SERVERS, remote_pid).
  virtual std::vector<int> backends(const std::string& database, Duration deadline) = 0;
  /// Whether the whole pooler is paused or suspended, which databases() does not show.
  virtual bool paused(Duration deadline) = 0;
  /// Whether this user may give orders: a user of stats_users may only look.
  virtual bool is_admin(Duration deadline) = 0;

  /// Lets running transactions end and gives no more connections: clients wait. Returns when no connection to the
  /// server is left. After a timeout the database stays paused: resume it.
  virtual void pause(const std::string& database, Duration deadline) = 0;
  /// Harmless when it is not paused.
  virtual void resume(const std::string& database, Duration deadline) = 0;
  /// Reads the configuration again.
  virtual void reload(Duration deadline) = 0;
};

std::unique_ptr<Pooler> make_pooler(const Conninfo& console);

}  // namespace pgrm
