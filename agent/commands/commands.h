// What the agent's subcommands do, from settings to exit code, a file each. main.cc only maps the command line to them.
#pragma once

#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "agent/engine/recovery.h"
#include "core/base/config.h"

namespace pgrm::agent {

/// What is asked of one subcommand and is no setting.
struct Arguments {
  bool json = false;
  bool html = false;
  bool all = false;
  bool all_pairs = false;
  bool dry_run = false;
  bool yes = false;
  bool watch = false;
  bool rehearse = false;
  bool warm = false;
  bool begin = false;  // of a comparison
  bool switch_back = false;
  bool ha_manager_paused = false;
  bool lose_logical_slots = false;
  bool discard_diverged = false;
  bool guarded = true;
  std::optional<std::string> hold;  // a file that holds the cutover while it is there; "": until Enter
  Decision decision = Decision::by_looking;
  std::optional<std::string> from;        // a folder in which reports were collected
  std::optional<double> over;             // seconds that a comparison looks at the new primary from now on
  std::optional<int> guard_pipe;          // given to the guard by the agent that starts it
  std::vector<std::string> command_line;  // without the program's name: the guard is started with the same
};

/// Sends the log to this file from now on, and no longer to the screen.
using LogTo = std::function<void(const std::string& path)>;

// Each returns the exit code of the contract and prints to standard output. Throws Error for what happened before
// anything was changed.
int preflight(const Settings& settings, const Arguments& arguments);
/// The same for many pairs, in one table.
int preflight_all(const std::vector<Settings>& pairs, const Arguments& arguments, const std::stop_token& stop);
/// With arguments.watch until `stop`.
int status(const Settings& settings, const Arguments& arguments, const std::stop_token& stop);
/// Fills the future primary's buffers, until that is done or `stop`.
int warm(const Settings& settings, const Arguments& arguments, std::stop_token stop);
/// Prints what a cutover is going to order, to whom.
int plan(const Settings& settings, const Arguments& arguments, std::stop_token stop);
/// Compares the application's life before the last cutover with the one since; with arguments.begin it only takes the
/// look with which the next one begins.
int compare(const Settings& settings, const Arguments& arguments, const std::stop_token& stop);
int cutover(const Settings& settings, const Arguments& arguments, std::stop_token stop, const LogTo& log_to);
/// `cutover` with arguments.dry_run, for many pairs, in one table.
int dry_run_all(const std::vector<Settings>& pairs, const Arguments& arguments, const std::stop_token& stop);
int recover(const Settings& settings, const Arguments& arguments, std::stop_token stop, const LogTo& log_to);
/// With arguments.guard_pipe the guard of the agent that has started this process, see engine/guard.h. With
/// arguments.watch a service, until `stop`: settles what an agent has left behind in STATE_DIR.
int guard(const Settings& settings, const Arguments& arguments, const std::stop_token& stop, const LogTo& log_to);
/// Prints what the old primary has committed and the new one lacks. Exit code 6 when there is anything.
int list_diverged(const Settings& settings, const Arguments& arguments, std::stop_token stop);
int rejoin(const Settings& settings, const Arguments& arguments, std::stop_token stop, const LogTo& log_to);
int report(const Settings& settings, const Arguments& arguments);
/// The newest report of each pair, in one table. With arguments.from those that were collected there, of all when
/// `pairs` is empty.
int report_all(const std::vector<Settings>& pairs, const Arguments& arguments);

}  // namespace pgrm::agent
