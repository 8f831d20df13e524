#include "agent/engine/guard.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <iostream>

#include "agent/commands/recover_once.h"
#include "core/base/error.h"

namespace pgrm::agent {
namespace {

/// Between two looks of `guard --watch` at STATE_DIR; and between two tries to settle what a person has to decide.
constexpr Duration watch_interval = std::chrono::seconds(1);
constexpr Duration longest_wait = std::chrono::minutes(1);

/// Goes on with what its own agent has left behind.
int guard_agent(const Settings& settings, const Arguments& arguments, const std::stop_token& stop,
                const LogTo& log_to) {
  constexpr auto patience = std::chrono::minutes(10);
  const pid_t agent = getppid();
  const AgentEnd watched = await_agent(arguments.guard_pipe.value());
  if (watched == AgentEnd::dismissed) return 0;
  std::cout << to_iso8601(pgrm::system_clock().wall()) << " the agent (pid " << agent << ") "
            << (watched == AgentEnd::died ? "is gone" : "has overrun its time and is killed") << ": recovering\n"
            << std::flush;
  // Two that act would be worse than none. Only the one that started us, and only while it still is our parent.
  if (watched == AgentEnd::overran && getppid() == agent) kill(agent, SIGKILL);
  return recover_until_settled([&] { return recover_once(settings, arguments, stop, log_to, "guard.log"); },
                               pgrm::system_clock(), patience, stop);
}

/// For hosts where a guard dies with its agent (containers), and for agents without one.
int guard_state_dir(const Settings& settings, const Arguments& arguments, const std::stop_token& stop,
                    const LogTo& log_to) {
  std::string said;
  const auto say_once = [&said](const std::string& what) {
    if (what != said) std::cout << to_iso8601(pgrm::system_clock().wall()) << ' ' << what << '\n' << std::flush;
    said = what;
  };
  say_once("watching for cutovers that nobody ends");
  Duration wait = watch_interval;
  do {
    try {
      if (has_unsettled(settings)) {
        recover_once(settings, arguments, stop, log_to, "guard.log");
        wait = has_unsettled(settings) ? std::min<Duration>(2 * wait, longest_wait) : watch_interval;
      } else {
        wait = watch_interval;
      }
    } catch (const std::exception& failure) {
      // An agent that lives holds STATE_DIR: it ends its cutover itself.
      const auto* const error = dynamic_cast<const Error*>(&failure);
      if (error == nullptr || error->code() != ErrorCode::preflight_refused) say_once(failure.what());
    }
  } while (!pgrm::system_clock().sleep_for(wait, stop));
  return 0;
}

}  // namespace

int guard(const Settings& settings, const Arguments& arguments, const std::stop_token& stop, const LogTo& log_to) {
  return arguments.guard_pipe ? guard_agent(settings, arguments, stop, log_to)
                              : guard_state_dir(settings, arguments, stop, log_to);
}

}  // namespace pgrm::agent
