#include "agent/engine/guard.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>
#include <string_view>

#include "agent/base/spawn.h"
#include "core/base/error.h"
#include "core/base/wait.h"

namespace pgrm::agent {
namespace {

// The words: one line each.
constexpr std::string_view goodbye = "goodbye";
constexpr std::string_view forever = "forever";

constexpr int inherited_pipe = 3;

[[noreturn]] void failed(const std::string& what, int reason) {
  throw Error(ErrorCode::file_failed, fmt::format("cannot {}: {}", what, std::strerror(reason)),
              "--no-guard goes without it: then a person recovers if the agent is killed");
}

/// What is waited for after `word`, in milliseconds for poll(); -1: for ever.
int patience_after(std::string_view word) {
  int millis = -1;
  std::from_chars(word.data(), word.data() + word.size(), millis);
  return millis;
}

}  // namespace

Guard::Guard(std::vector<std::string> arguments, const std::string& log) {
  std::array<int, 2> ends{};
  // Close-on-exec: a hook that outlives the agent must not hold the agent's end.
  if (pipe2(ends.data(), O_CLOEXEC) != 0) failed("make a pipe", errno);
  arguments.insert(arguments.begin(), "agent");
  arguments.insert(arguments.end(), {"--guard", std::to_string(inherited_pipe)});
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  SpawnFiles files;
  posix_spawn_file_actions_adddup2(&files.value, ends[0], inherited_pipe);
  posix_spawn_file_actions_addopen(&files.value, STDOUT_FILENO, log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  posix_spawn_file_actions_adddup2(&files.value, STDOUT_FILENO, STDERR_FILENO);
  const SpawnAttributes attributes(POSIX_SPAWN_SETSID);
  const int failure = posix_spawn(&pid_, "/proc/self/exe", &files.value, &attributes.value, pointers.data(), environ);
  close(ends[0]);
  pipe_ = ends[1];
  if (failure != 0) {
    close(pipe_);
    failed("start the guard", failure);
  }
}

Guard::~Guard() {
  if (pipe_ >= 0) close(pipe_);
}

void Guard::expects(std::optional<Duration> within) noexcept {
  say(within ? std::to_string(std::chrono::ceil<std::chrono::milliseconds>(*within).count()) : std::string(forever));
}

void Guard::dismiss() noexcept {
  say(std::string(goodbye));
  if (pipe_ >= 0) close(pipe_);
  pipe_ = -1;
  waitpid(pid_, nullptr, 0);
}

void Guard::say(const std::string& word) noexcept {
  const std::string line = word + "\n";
  if (pipe_ >= 0 && write(pipe_, line.data(), line.size()) < 0) {
    spdlog::warn("the guard (pid {}) does not listen any more: {}", pid_, std::strerror(errno));
  }
}

AgentEnd await_agent(int pipe) {
  std::string heard;
  int patience = -1;
  for (;;) {
    pollfd event{pipe, POLLIN, 0};
    const int ready = poll(&event, 1, patience);
    if (ready == 0) return AgentEnd::overran;
    if (ready < 0) continue;  // a signal
    std::array<char, 256> buffer{};
    const ssize_t count = read(pipe, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return AgentEnd::died;
    heard.append(buffer.data(), static_cast<std::size_t>(count));
    for (std::size_t end = heard.find('\n'); end != std::string::npos; end = heard.find('\n')) {
      const std::string word = heard.substr(0, end);
      heard.erase(0, end + 1);
      if (word == goodbye) return AgentEnd::dismissed;
      patience = patience_after(word);
    }
  }
}

int recover_until_settled(const std::function<int()>& attempt, const Clock& clock, Duration patience,
                          const std::stop_token& stop) {
  const int undecided = error_row(ErrorCode::undecided).exit_code;
  int code = undecided;
  const auto settled = [&] {
    try {
      code = attempt();
    } catch (const std::exception& failure) {
      spdlog::error("{}", failure.what());
      code = undecided;
    }
    return !needs_recovery(code);
  };
  wait_until(clock, patience, std::chrono::seconds(2), stop, settled);
  return code;
}

}  // namespace pgrm::agent
