#include "agent/traffic/file_swap.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <vector>

#include "core/base/error.h"

namespace pgrm::agent {
namespace {

constexpr mode_t group_bits = S_IRWXG;

bool is_mine(gid_t group) {
  std::vector<gid_t> groups(static_cast<std::size_t>(std::max(getgroups(0, nullptr), 0)));
  const int count = getgroups(static_cast<int>(groups.size()), groups.data());
  groups.resize(static_cast<std::size_t>(std::max(count, 0)));
  return group == getegid() || std::ranges::find(groups, group) != groups.end();
}

bool owner_kept(const struct stat& now, const struct stat& was) {
  return now.st_uid == was.st_uid && (now.st_gid == was.st_gid || (was.st_mode & group_bits) == 0);
}

}  // namespace

std::string linked_file(const std::string& path) {
  std::error_code problem;
  const std::filesystem::path file = std::filesystem::canonical(path, problem);
  if (problem) throw Error(ErrorCode::file_failed, fmt::format("{}: {}", path, problem.message()));
  return file;
}

std::string staged_name(const std::string& path) { return path + ".pgrm-new"; }

std::string swap_problem(const std::string& path) {
  const std::string directory = std::filesystem::path(path).parent_path();
  struct stat file {
  }, parent{};
  if (access(directory.c_str(), W_OK) != 0) {
    return fmt::format("{} cannot be written to, and {} is replaced as a whole", directory, path);
  }
  if (stat(path.c_str(), &file) != 0 || stat(directory.c_str(), &parent) != 0) {
    return fmt::format("{}: {}", path, std::strerror(errno));
  }
  if (geteuid() == 0) return "";
  if (file.st_uid != geteuid()) {
    return fmt::format("{} is another user's: a file in its place would be the agent's", path);
  }
  const bool inherits = (parent.st_mode & S_ISGID) != 0 && parent.st_gid == file.st_gid;
  if ((file.st_mode & group_bits) == 0 || inherits || is_mine(file.st_gid)) return "";
  return fmt::format("a file in place of {} would not have its group: chgrp and chmod g+s its directory", path);
}

void stage(const std::string& path, const std::string& text) {
  const std::string staged = staged_name(path);
  struct stat was {
  }, now{};
  // A new file, whatever has that name: the pooler's user may have put a link there to a file that is not its own.
  unlink(staged.c_str());
  const int file = open(staged.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  bool good = file >= 0 && stat(path.c_str(), &was) == 0 && fstat(file, &now) == 0;
  if (good && !owner_kept(now, was)) good = fchown(file, was.st_uid, was.st_gid) == 0;
  good = good && fchmod(file, was.st_mode & 07777) == 0 &&
         write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && fsync(file) == 0;
  const int reason = errno;
  if (file >= 0) close(file);
  if (!good) throw Error(ErrorCode::file_failed, fmt::format("cannot write {}: {}", staged, std::strerror(reason)));
}

void swap_in(const std::string& path) {
  if (std::rename(staged_name(path).c_str(), path.c_str()) != 0) {
    throw Error(ErrorCode::file_failed, fmt::format("cannot replace {}: {}", path, std::strerror(errno)));
  }
}

}  // namespace pgrm::agent
