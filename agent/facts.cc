#include "agent/facts.h"

#include <unistd.h>

#include <filesystem>

#include "core/base/error.h"

namespace pgrm::agent {
namespace {

NodeFacts ask_node(Server& server, Duration deadline) {
  NodeFacts node;
  node.who = server.admin->describe();
  try {
    node.facts = server.admin->facts(deadline);
    node.read_only_exceptions = server.admin->read_only_exceptions(deadline);
    node.may_write_probe = server.application->may_write_probe(deadline);
  } catch (const Error& error) {
    node.error = error.what();
  }
  return node;
}

bool take_lock(Node& lock, Duration deadline) {
  try {
    return lock.try_lock(deadline);
  } catch (const Error&) {
    return false;  // the primary cannot be reached: another check says so
  }
}

}  // namespace

Facts gather_facts(Servers& servers, http::Client& exporter, Traffics& traffic, const Options& options,
                   const Clock& clock) {
  Facts facts;
  facts.thresholds = options.thresholds;
  facts.sample = observe_pair(*servers.primary.admin, *servers.replica.admin, 1, clock, options.call_deadline);
  facts.primary = ask_node(servers.primary, options.call_deadline);
  facts.replica = ask_node(servers.replica, options.call_deadline);
  try {
    facts.exporter = state_from_json(http::get_ok(exporter, "/api/v1/state", options.call_deadline));
  } catch (const Error& error) {
    facts.exporter_error = error.what();
  }
  for (const auto& driver : traffic) facts.traffic.push_back({driver->name(), driver->problem()});
  facts.lock_held = take_lock(*servers.lock, options.call_deadline);
  std::error_code problem;
  std::filesystem::create_directories(options.state_dir, problem);
  if (problem || access(options.state_dir.c_str(), W_OK) != 0) {
    facts.state_dir_problem = options.state_dir + " cannot be written";
  }
  return facts;
}

}  // namespace pgrm::agent
