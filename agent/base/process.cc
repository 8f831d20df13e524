#include "agent/base/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <sstream>

#include "agent/base/spawn.h"
#include "core/base/error.h"
#include "core/base/wait.h"

extern char** environ;

namespace pgrm::agent {
namespace {

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (std::string& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

/// A file in memory for what the command prints. Unlike a pipe, it never makes the command wait, and a process that
/// keeps it open does not make us wait.
class Output {
 public:
  Output() : file_(memfd_create("output", MFD_CLOEXEC)) {
    if (file_ < 0) throw Error(ErrorCode::file_failed, fmt::format("no room for output: {}", std::strerror(errno)));
  }
  ~Output() { close(file_); }
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  int descriptor() const { return file_; }

  /// At most its last 64 KiB.
  std::string text() const {
    constexpr off_t most = 1 << 16;
    const off_t size = std::max<off_t>(lseek(file_, 0, SEEK_END), 0);
    std::string result(static_cast<std::size_t>(std::min(size, most)), '\0');
    const ssize_t got = pread(file_, result.data(), result.size(), std::max<off_t>(size - most, 0));
    result.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    return result;
  }

 private:
  int file_;
};

/// Logs every line; returns the last one that says something, and is no hint.
std::string log_lines(const std::string& name, const std::string& text) {
  std::string last;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.empty()) continue;
    spdlog::info("{}: {}", name, line);
    if (!line.starts_with("hint:")) last = line;
  }
  return last;
}

/// True when the process has ended within `budget`; does not reap it.
bool ended_within(pid_t pid, Duration budget) {
  const auto descriptor = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (descriptor < 0) {  // an old kernel, or one that forbids it
    return wait_until(system_clock(), budget, std::chrono::milliseconds(5), {}, [pid] {
             siginfo_t info{};
             return waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0;
           }) == WaitEnd::reached;
  }
  pollfd event{descriptor, POLLIN, 0};
  const auto millis = std::chrono::ceil<std::chrono::milliseconds>(budget).count();
  const bool ended = poll(&event, 1, static_cast<int>(millis)) == 1;
  close(descriptor);
  return ended;
}

}  // namespace

std::string run_command(const std::vector<std::string>& command, const std::map<std::string, std::string>& extra,
                        Duration budget) {
  std::vector<std::string> arguments = command;
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view inherited = *entry;
    if (!extra.contains(std::string(inherited.substr(0, inherited.find('='))))) environment.emplace_back(inherited);
  }
  for (const auto& [name, value] : extra) environment.push_back(name + "=" + value);
  // A group of its own, so that a timeout kills its children too.
  const SpawnAttributes attributes(POSIX_SPAWN_SETPGROUP);
  const Output output, errors;
  SpawnFiles files;
  posix_spawn_file_actions_adddup2(&files.value, output.descriptor(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&files.value, errors.descriptor(), STDERR_FILENO);
  pid_t pid = 0;
  const int failure = posix_spawn(&pid, command.front().c_str(), &files.value, &attributes.value,
                                  pointers(arguments).data(), pointers(environment).data());
  if (failure != 0) {
    throw Error(ErrorCode::file_failed, fmt::format("cannot run {}: {}", command.front(), std::strerror(failure)));
  }
  const bool ended = ended_within(pid, budget);
  if (!ended) kill(-pid, SIGKILL);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  std::string text = output.text();
  const std::string name = std::filesystem::path(command.front()).filename();
  const std::string printed = log_lines(name, text), complained = log_lines(name, errors.text());
  const std::string& last = complained.empty() ? printed : complained;
  const std::string said = last.empty() ? "" : ": " + last;
  if (!ended) {
    throw Error(ErrorCode::timeout,
                fmt::format("{} was still running after {}{}", command.front(), human(budget), said),
                "run it by hand to see what it waits for; the log beside the journal has all that it printed");
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return text;
  throw Error(ErrorCode::query_failed,
              (WIFEXITED(status) ? fmt::format("{} exited with {}", command.front(), WEXITSTATUS(status))
                                 : fmt::format("{} was ended by signal {}", command.front(), WTERMSIG(status))) +
                  said,
              "the log beside the journal has all that it printed");
}

}  // namespace pgrm::agent
