#include "tests/bench/child.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace pgrm::bench {
namespace {

std::string content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string end_of(const std::string& text) { return text.size() <= 2000 ? text : text.substr(text.size() - 2000); }

Duration duration_of(const timeval& time) {
  return std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec);
}

}  // namespace

ChildResult run_child(const std::vector<std::string>& arguments, const std::map<std::string, std::string>& environment,
                      const std::string& log, int status) {
  const std::string output = log + ".out";
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);

  const Mono begun = std::chrono::steady_clock::now();
  const pid_t pid = fork();
  if (pid < 0) throw std::runtime_error("cannot fork");
  if (pid == 0) {
    for (const auto& [name, value] : environment) setenv(name.c_str(), value.c_str(), 1);
    const int out = open(output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    const int err = open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (out < 0 || err < 0 || dup2(out, STDOUT_FILENO) < 0 || dup2(err, STDERR_FILENO) < 0) _exit(126);
    execvp(argv[0], argv.data());
    _exit(127);
  }
  int ended = 0;
  rusage usage{};
  wait4(pid, &ended, 0, &usage);
  ChildResult result{.output = content_of(output),
                     .wall = std::chrono::steady_clock::now() - begun,
                     .cpu = duration_of(usage.ru_utime) + duration_of(usage.ru_stime),
                     .max_rss_kib = usage.ru_maxrss};
  if (!WIFEXITED(ended) || WEXITSTATUS(ended) != status) {
    throw std::runtime_error(fmt::format("{} ended with status {}\n{}\n{}", fmt::join(arguments, " "), ended,
                                         end_of(result.output), end_of(content_of(log))));
  }
  return result;
}

}  // namespace pgrm::bench
