// What several subcommands need: options, connections and drivers of one invocation, the question to a person, the
// report.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "agent/commands/commands.h"
#include "agent/engine/walk.h"

namespace pgrm::agent {

/// Made once for whichever command runs.
struct Invocation {
  Options options;
  std::string id;
  Servers servers;
  std::unique_ptr<http::Client> exporter;
  Traffics traffic;
  std::unique_ptr<NodeControl> node_control;
  Progress progress;

  /// `told`: of every statement of its sessions, see make_servers().
  Invocation(Options asked, const Arguments& arguments, std::string cutover_id, const OnServerStatement& told = {});

  Cutover cutover(std::stop_token stop);
};

/// The options of this command line. With switch_back the two servers change places: `primary` is the server that is,
/// or was, the primary.
Options options_of(const Settings& settings, const Arguments& arguments);

TrafficContext traffic_context(const Options& options, const std::string& cutover_id);

/// `what` will happen: a sentence. Throws Error(usage) without a terminal or without the answer, Error(undone) when it
/// is interrupted.
void confirm(const Options& options, const std::string& what, const std::stop_token& stop);

/// Writes and prints the report, and returns the exit code. Never throws Error: the outcome is what it is, whether it
/// can be written down or not. `watch`: what follows, and adds to the report, which is then written once more; empty:
/// nothing.
int report_outcome(Cutover& run, const Outcome& outcome, const Arguments& arguments, const std::string& directory,
                   const std::function<void()>& watch = {});

/// report.json and report.html. Returns where the page lies. Throws Error(file_failed).
std::string write_report(const std::string& directory, const nlohmann::json& report);

/// What a journal is about: the pair, by cluster and addresses.
nlohmann::json about(const Cutover& run);

}  // namespace pgrm::agent
