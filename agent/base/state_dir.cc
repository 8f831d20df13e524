#include "agent/base/state_dir.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string_view>

#include "core/base/error.h"
#include "core/base/wait.h"

namespace pgrm::agent {

namespace fs = std::filesystem;

namespace {

/// "20260131T090507Z": in order as texts, too.
std::string stamp(WallTime time) {
  std::string text = to_iso8601(time).substr(0, 19);
  std::erase_if(text, [](char c) { return c == '-' || c == ':'; });
  return text + "Z";
}

/// The second after the newest cutover of this cluster; the epoch when there is none. Their order is that of the names,
/// and the clock may have been put back since.
WallTime after_newest(const std::string& state_dir, const std::string& system_identifier) {
  WallTime after{};
  std::error_code problem;
  for (const auto& entry : fs::directory_iterator(state_dir, problem)) {
    const std::string name = entry.path().filename();
    std::tm time{};
    const char* const end = strptime(name.c_str(), "%Y%m%dT%H%M%SZ-", &time);
    if (end == nullptr || end != system_identifier) continue;
    after = std::max(after, WallTime(std::chrono::seconds(timegm(&time) + 1)));
  }
  return after;
}

}  // namespace

StateLock::StateLock(const std::string& state_dir, Duration patience) {
  std::error_code ignored;  // open() below says what is wrong
  fs::create_directories(state_dir, ignored);
  const std::string path = state_dir + "/lock";
  file_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file_ < 0) {
    throw Error(ErrorCode::configuration, fmt::format("STATE_DIR: cannot open {}: {}", path, std::strerror(errno)),
                "choose another --state-dir");
  }
  const std::string who = fmt::format("pid {} since {}\n", getpid(), to_iso8601(system_clock().wall()));
  int reason = 0;
  const auto locked = [&] {
    reason = flock(file_, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
    return reason != EWOULDBLOCK;
  };
  if (!locked() && patience > Duration::zero()) {
    spdlog::info("waits at most {} for the agent that holds {}", human(patience), path);
    wait_until(system_clock(), patience, std::chrono::milliseconds(20), {}, locked);
  }
  if (reason != 0) {
    close(file_);
    if (reason != EWOULDBLOCK) {
      throw Error(ErrorCode::file_failed, fmt::format("cannot lock {}: {}", path, std::strerror(reason)));
    }
    std::string holder = read_file(path);
    std::erase(holder, '\n');
    throw Error(ErrorCode::preflight_refused,
                fmt::format("another agent{} holds {}", holder.empty() ? "" : " (" + holder + ")", path),
                "wait until it has ended; a guard that goes on trying ends when it is killed");
  }
  // This text is only for people. On a full disk the lock holds without it, because a recovery must be able to begin.
  if (ftruncate(file_, 0) != 0 || pwrite(file_, who.data(), who.size(), 0) < 0) {
    spdlog::warn("{} does not say who holds it: {}", path, std::strerror(errno));
  }
}

StateLock::~StateLock() { close(file_); }

std::string new_cutover_id(WallTime now) {
  std::random_device random;
  return fmt::format("{}-{:08x}", stamp(now), random());
}

std::string make_cutover_directory(const std::string& state_dir, WallTime now, const std::string& system_identifier) {
  std::string directory = state_dir;
  std::error_code problem;
  now = std::max(now, after_newest(state_dir, system_identifier));
  for (fs::create_directories(directory, problem); !problem; now += std::chrono::seconds(1)) {
    directory = fmt::format("{}/{}-{}", state_dir, stamp(now), system_identifier);
    if (!fs::create_directory(directory, problem)) continue;
    // Journal, report and log name hosts, roles and databases.
    fs::permissions(directory, fs::perms::owner_all, problem);
    if (!problem) return directory;
  }
  throw Error(ErrorCode::file_failed, fmt::format("cannot make {}: {}", directory, problem.message()));
}

std::vector<std::string> directories_with(const std::string& state_dir, const std::string& file) {
  std::vector<std::string> directories;
  std::error_code problem;
  for (const auto& entry : fs::directory_iterator(state_dir, problem)) {
    if (fs::exists(entry.path() / file, problem)) directories.push_back(entry.path().string());
  }
  std::ranges::sort(directories, std::ranges::greater());  // names begin with the time
  return directories;
}

std::optional<std::string> newest_with(const std::string& state_dir, const std::string& file,
                                       const std::string& system_identifier) {
  for (std::string& directory : directories_with(state_dir, file)) {
    if (system_identifier.empty() || directory.ends_with("-" + system_identifier)) return std::move(directory);
  }
  return std::nullopt;
}

std::string read_file(const std::string& path) {
  // For a directory or a failing disk, std::filebuf throws another exception than Error.
  try {
    std::ifstream file(path, std::ios::binary);
    std::string text{std::istreambuf_iterator<char>(file), {}};
    if (file) return text;
  } catch (const std::exception&) {
  }
  throw Error(ErrorCode::file_failed, "cannot read " + path);
}

void write_file(const std::string& path, const std::string& text) {
  const std::string temporary = path + ".new";
  const int file = open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  std::string_view left = text;
  while (file >= 0 && !left.empty()) {
    const ssize_t written = write(file, left.data(), left.size());
    if (written < 0) break;
    left.remove_prefix(static_cast<std::size_t>(written));
  }
  const bool durable =
      file >= 0 && left.empty() && fsync(file) == 0 && std::rename(temporary.c_str(), path.c_str()) == 0;
  const int reason = errno;
  if (file >= 0) close(file);
  if (!durable) throw Error(ErrorCode::file_failed, fmt::format("cannot write {}: {}", path, std::strerror(reason)));
}

void try_to_write(const std::string& directory) {
  std::string path = directory + "/.preflight-XXXXXX";
  const int file = mkostemp(path.data(), O_CLOEXEC);
  const bool durable = file >= 0 && write(file, "a record", 8) == 8 && fsync(file) == 0;
  const int reason = errno;
  if (file >= 0) {
    close(file);
    unlink(path.c_str());
  }
  if (!durable) {
    throw Error(ErrorCode::file_failed, fmt::format("cannot write in {}: {}", directory, std::strerror(reason)));
  }
}

}  // namespace pgrm::agent
