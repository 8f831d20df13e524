// STATE_DIR: one directory a cutover, and a lock that keeps a second agent out.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/base/clock.h"

namespace pgrm::agent {

/// A guard that goes on trying holds STATE_DIR for some seconds each time: what a person types meanwhile waits.
inline constexpr Duration patience_with_guard = std::chrono::seconds(20);

/// Held for its lifetime; released by the kernel when the process dies. Throws Error(preflight_refused) with the holder
/// when another agent still has it after `patience`, Error(configuration, file_failed) when the directory cannot be
/// made or written.
class StateLock {
 public:
  explicit StateLock(const std::string& state_dir, Duration patience = Duration::zero());
  ~StateLock();
  StateLock(const StateLock&) = delete;
  StateLock& operator=(const StateLock&) = delete;

 private:
  int file_;
};

/// "20260131T090507Z-4f0c2a91": when, and a random part.
std::string new_cutover_id(WallTime now);

/// Makes and returns STATE_DIR/<utc-time>-<system identifier>, of the first second from `now` on that comes after all
/// other cutovers of that cluster: their order is that of the names, even if the clock was put back. Nobody else may
/// look into it. Throws Error(file_failed).
std::string make_cutover_directory(const std::string& state_dir, WallTime now, const std::string& system_identifier);

/// The newest of those directories (of one cluster, when its identifier is given) that has `file`; nullopt when there
/// is none.
std::optional<std::string> newest_with(const std::string& state_dir, const std::string& file,
                                       const std::string& system_identifier = {});

/// All that have `file`, newest first.
std::vector<std::string> directories_with(const std::string& state_dir, const std::string& file);

/// Throws Error(file_failed).
std::string read_file(const std::string& path);
/// Writes completely or not at all (new file that only its owner may read, fsync, rename). Throws Error(file_failed).
void write_file(const std::string& path, const std::string& text);
/// Writes and syncs a file in `directory`, as the journal will; nothing stays. Others may try the same directory
/// meanwhile: agents, and the threads that judge many pairs. Throws Error(file_failed).
void try_to_write(const std::string& directory);

}  // namespace pgrm::agent
