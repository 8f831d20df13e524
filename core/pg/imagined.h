// A pair of servers as it would be if the orders that it is given were carried out. None is sent: it is told instead.
// What is asked is asked of the real server, and the answer is what it would be after those orders. For a plan.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/pg/node.h"
#include "core/pg/statement.h"

namespace pgrm {

/// An order, with its parameters: $1, $2, … in `sql`.
struct GivenOrder {
  std::string server;  // host:port
  std::string name;    // of the prepared statement, as the server's log has it; empty: none
  std::string sql;
  Params parameters;
};

/// What the orders have made of one server so far. nullopt, and what is not in a map: as it really is.
struct Imagined {
  std::string address;
  std::optional<Overrides> written, loaded;  // by ALTER SYSTEM: in the file, and in effect
  SystemSettings settings;                   // likewise, others
  std::map<std::string, bool> open;          // databases
  std::set<std::string> disabled;            // subscriptions
  std::optional<std::vector<std::string>> markers;
  std::int64_t filled = 0;         // bytes of WAL
  std::uint64_t transactions = 0;  // that were used
  bool flushed = false;
  std::optional<WalEnd> at_rest;  // where WAL ended when nobody could write any more
  bool down = false, promoted = false;
  std::optional<std::string> slot;  // it is a standby of the new primary, through this slot
};

/// Not thread-safe, nor are its nodes. Outlives its nodes.
class ImaginedPair {
 public:
  ImaginedPair(std::string old_primary, std::string new_primary, std::function<void(const GivenOrder&)> told);

  /// Takes the place of `real`, a node of that server, which stays the one that is asked.
  std::unique_ptr<Node> old_primary(std::unique_ptr<Node> real);
  std::unique_ptr<Node> new_primary(std::unique_ptr<Node> real);
  /// Of another standby of the old primary's.
  std::unique_ptr<Node> sibling(std::unique_ptr<Node> real);

  // What a host's commands do to the old primary.
  void stop_old();
  void start_old_as_standby(const std::string& slot);

 private:
  friend class ImaginedNode;

  Imagined old_, new_;
  std::vector<std::unique_ptr<Imagined>> siblings_;
  std::uint32_t timeline_ = 0;  // of the new primary, once it is promoted
  std::function<void(const GivenOrder&)> told_;
};

}  // namespace pgrm
