// The guard: a child process that outlives the agent. While the agent changes things it holds one end of a pipe; when
// the agent dies without a word, or does not say anything for too long, the guard ends it and recovers by itself.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/base/clock.h"

namespace pgrm::agent {

/// The agent's side. Its death, of whatever kind, closes the pipe.
class Guard {
 public:
  /// Starts this very program with `arguments` (without the program's name) and "--guard FD", in a session of its own,
  /// so that neither Ctrl-C nor a lost terminal reaches it; its output goes to the file `log`. Throws
  /// Error(file_failed).
  Guard(std::vector<std::string> arguments, const std::string& log);
  /// Leaves without a word, unless dismissed: the guard takes over.
  ~Guard();
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;

  /// The next word comes within this time; nullopt: whenever it comes. Never throws: a guard that has died guards
  /// nothing, but a cutover goes on.
  void expects(std::optional<Duration> within) noexcept;
  /// The word that ends it. Returns when the process has ended.
  void dismiss() noexcept;
  pid_t pid() const { return pid_; }

 private:
  void say(const std::string& word) noexcept;

  int pipe_ = -1;
  pid_t pid_ = 0;
};

enum class AgentEnd { dismissed, died, overran };

/// The guard's side: returns when the agent has been heard for the last time. `pipe`: what "--guard" named.
AgentEnd await_agent(int pipe);

/// What `attempt` (one recovery; returns its exit code) comes to, for `patience`, with a pause between two attempts:
/// until nothing is left to decide (neither 6 nor 7). What it throws is logged and counts as 7. Returns the last exit
/// code.
int recover_until_settled(const std::function<int()>& attempt, const Clock& clock, Duration patience,
                          const std::stop_token& stop);

}  // namespace pgrm::agent
