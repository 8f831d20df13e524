#include "agent/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>

#include "core/base/error.h"

extern char** environ;

namespace pgrm::agent {
namespace {

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (std::string& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

/// Own process group (so that a timeout kills its children too) and no blocked signals (ours are, see signals.h).
struct Attributes {
  posix_spawnattr_t value{};
  Attributes() {
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_init(&value);
    posix_spawnattr_setpgroup(&value, 0);
    posix_spawnattr_setsigmask(&value, &none);
    posix_spawnattr_setflags(&value, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
  }
  ~Attributes() { posix_spawnattr_destroy(&value); }
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;
};

/// True when the process has ended within `budget`; does not reap it.
bool ended_within(pid_t pid, Duration budget) {
  const auto descriptor = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (descriptor < 0) return false;
  pollfd event{descriptor, POLLIN, 0};
  const auto millis = std::chrono::duration_cast<std::chrono::milliseconds>(budget).count();
  const bool ended = poll(&event, 1, static_cast<int>(millis)) == 1;
  close(descriptor);
  return ended;
}

}  // namespace

void run_command(const std::vector<std::string>& command, const std::map<std::string, std::string>& extra,
                 Duration budget) {
  std::vector<std::string> arguments = command;
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) environment.emplace_back(*entry);
  for (const auto& [name, value] : extra) environment.push_back(name + "=" + value);
  const Attributes attributes;
  pid_t pid = 0;
  const int failure = posix_spawn(&pid, command.front().c_str(), nullptr, &attributes.value, pointers(arguments).data(),
                                  pointers(environment).data());
  if (failure != 0) {
    throw Error(ErrorCode::file_failed, fmt::format("cannot run {}: {}", command.front(), std::strerror(failure)));
  }
  const bool ended = ended_within(pid, budget);
  if (!ended) kill(-pid, SIGKILL);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!ended)
    throw Error(ErrorCode::timeout, fmt::format("{} was still running after {}", command.front(), human(budget)));
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
  throw Error(ErrorCode::query_failed,
              WIFEXITED(status) ? fmt::format("{} exited with {}", command.front(), WEXITSTATUS(status))
                                : fmt::format("{} was ended by signal {}", command.front(), WTERMSIG(status)),
              "look at what it printed");
}

}  // namespace pgrm::agent
