// What the agent's subcommands do, from settings to exit code. main.cc only maps the command line to them.
#pragma once

#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "agent/cutover.h"
#include "core/base/config.h"

namespace pgrm::agent {

struct Arguments {
  bool json = false;
  bool all = false;
  bool dry_run = false;
  bool yes = false;
  bool watch = false;
  Decision decision = Decision::by_looking;
  std::vector<std::string> traffic{"loadgen"};
  std::string hooks;
};

/// Sends the log to this file from now on, and no longer to the screen.
using LogTo = std::function<void(const std::string& path)>;

// Each returns the exit code of the contract and prints to standard output. Throws Error for what happened before
// anything was changed.
int preflight(const Settings& settings, const Arguments& arguments);
/// With arguments.watch until `stop`.
int status(const Settings& settings, const Arguments& arguments, const std::stop_token& stop);
int cutover(const Settings& settings, const Arguments& arguments, std::stop_token stop, const LogTo& log_to);
int recover(const Settings& settings, const Arguments& arguments, std::stop_token stop, const LogTo& log_to);
int report(const Settings& settings, const Arguments& arguments);

}  // namespace pgrm::agent
