// The exporter as a process: how it ends, and what it does without descriptors.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "core/base/error.h"
#include "core/base/wait.h"
#include "core/http/client.h"
#include "tests/fakes/raw_http.h"
#include "tests/integration/lab_pair.h"

namespace pgrm::exporter {
namespace {

constexpr auto soon = std::chrono::seconds(20);
constexpr auto tick = std::chrono::milliseconds(5);

/// `exporter` on a port of its own, watching the lab's pair. Killed at the end if it still runs.
class Process {
 public:
  Process() {
    const LabPair& lab = LabPair::get();
    const std::string program = std::string(std::getenv("PGRM_BIN")) + "/exporter";
    std::vector<std::string> arguments{program,
                                       "--listen",
                                       "127.0.0.1:0",
                                       "--primary-host",
                                       "127.0.0.1",
                                       "--primary-port",
                                       lab.variable("PRIMARY_PORT"),
                                       "--replica-host",
                                       "127.0.0.1",
                                       "--replica-port",
                                       lab.variable("REPLICA_PORT"),
                                       "--user",
                                       "pgrm_monitor"};
    std::vector<char*> pointers;
    for (std::string& argument : arguments) pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    const std::string password_file = "POSTGRES_PASSWORD_FILE=" + lab.home() + "/data/secrets/pgrm_monitor";
    std::vector<char*> environment{const_cast<char*>(password_file.c_str())};
    for (char** variable = environ; *variable != nullptr; ++variable) environment.push_back(*variable);
    environment.push_back(nullptr);
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDERR_FILENO, log_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    EXPECT_EQ(posix_spawn(&pid_, program.c_str(), &files, nullptr, pointers.data(), environment.data()), 0) << program;
    posix_spawn_file_actions_destroy(&files);
    EXPECT_EQ(wait_until(system_clock(), soon, tick, {}, [this] { return find_port(); }), WaitEnd::reached) << log();
  }
  ~Process() {
    if (pid_ > 0 && !ended_) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    std::filesystem::remove(log_);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  int port() const { return port_; }
  std::unique_ptr<http::Client> client() const {
    return http::make_client("http://127.0.0.1:" + std::to_string(port_));
  }

  /// How it ended after SIGTERM: its exit status, or minus the signal that ended it.
  int terminate() {
    kill(pid_, SIGTERM);
    int status = 0;
    const WaitEnd end = wait_until(system_clock(), soon, tick, {}, [&] { return waitpid(pid_, &status, WNOHANG) > 0; });
    ended_ = end == WaitEnd::reached;
    EXPECT_TRUE(ended_) << "still runs after SIGTERM";
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

  std::string log() const {
    std::ifstream file(log_);
    return {std::istreambuf_iterator<char>(file), {}};
  }

 private:
  bool find_port() {
    const std::string text = log(), before = "listening on port ";
    const auto at = text.find(before);
    if (at == std::string::npos || text.find('\n', at) == std::string::npos) return false;
    port_ = std::stoi(text.substr(at + before.size()));
    return true;
  }

  const std::string log_ = LabPair::get().home() + "/exporter_process_test.log";
  pid_t pid_ = -1;
  int port_ = -1;
  bool ended_ = false;
};

TEST(ExporterProcess, EndsInOrderWhileItIsBeingScraped) {
  for (int i = 0; i < 10; ++i) {
    Process exporter;
    std::atomic<int> answers = 0;
    std::vector<std::jthread> scrapers;
    for (const char* const path : {"/metrics", "/metrics", "/api/v1/state", "/healthz", "/readyz"}) {
      scrapers.emplace_back([&, path](const std::stop_token& stop) {
        try {
          for (const auto client = exporter.client(); !stop.stop_requested(); ++answers) client->get(path, soon);
        } catch (const Error&) {
          // It has ended: nobody is there any more.
        }
      });
    }
    ASSERT_EQ(wait_until(system_clock(), soon, tick, {}, [&] { return answers >= 50; }), WaitEnd::reached);
    ASSERT_EQ(exporter.terminate(), 0) << exporter.log();
  }
}

TEST(ExporterProcess, OutOfDescriptorsItServesWhoComesNext) {
  Process exporter;
  http::get_ok(*exporter.client(), "/healthz", soon);
  const std::filesystem::path descriptors = "/proc/" + std::to_string(exporter.pid()) + "/fd";
  const auto held = [&] { return std::distance(std::filesystem::directory_iterator(descriptors), {}); };
  // A few more than it has now, whatever its observers do with theirs meanwhile.
  const rlimit few{static_cast<rlim_t>(held()) + 8, static_cast<rlim_t>(held()) + 8};
  ASSERT_EQ(prlimit(exporter.pid(), RLIMIT_NOFILE, &few, nullptr), 0);

  for (int round = 0; round < 2; ++round) {
    std::deque<http::RawClient> crowd;
    for (int i = 0; i < 20; ++i) crowd.emplace_back(exporter.port());
    ASSERT_NO_THROW(http::get_ok(*exporter.client(), "/healthz", soon)) << "while the crowd stays\n" << exporter.log();
    crowd.clear();
    ASSERT_NO_THROW(http::get_ok(*exporter.client(), "/healthz", soon)) << "after it has gone\n" << exporter.log();
  }
  EXPECT_EQ(exporter.terminate(), 0) << exporter.log();
}

}  // namespace
}  // namespace pgrm::exporter
