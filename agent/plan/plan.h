// A plan of a cutover, for a change ticket: every order that it is going to give, to whom, step by step, and what an
// undo gives. The engine itself walks its table against a pair that only imagines what it is ordered to do.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "agent/engine/walk.h"
#include "core/pg/statement.h"

namespace pgrm::agent {

/// One order: SQL for a server, or what a driver or a command of the host does.
struct PlannedOrder {
  std::string to;    // a server's address, a driver's name, or "host of " and an address
  std::string name;  // of the prepared statement, as the server's log has it; empty: none
  std::string text;
  Params parameters;
};

struct PlannedStep {
  const Step* step;
  std::string preview;                // what it would do, said from what is there
  std::optional<Duration> predicted;  // where writes are stopped while it runs
  std::vector<PlannedOrder> orders, undo;
};

/// What is only asked, by server, each on one line. Thread-safe.
class Questions {
 public:
  void add(const std::string& server, const std::string& sql);
  std::map<std::string, std::set<std::string>> all() const;

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::set<std::string>> by_server_;
};

struct Plan {
  std::vector<PlannedStep> steps;
  std::vector<PlannedOrder> afterwards;  // once the last step is done
  std::vector<std::string> by_hand;      // what is left for a person when it is done
  std::vector<std::string> way_back;     // before and after the point of no return
};

/// What a cutover acts with: connections and drivers of its own.
struct Cast {
  Servers servers;
  Traffics traffic;
  std::unique_ptr<NodeControl> node_control;
};
using MakeCast = std::function<Cast()>;

/// `planned`: after a dry run that has passed; its options are those of the cutover. Asks the servers, the exporter and
/// the drivers; changes nothing. Throws Error when the pair is not ready any more.
Plan make_plan(const Cutover& planned, const Outcome& looked, const MakeCast& make_cast);

}  // namespace pgrm::agent
