// posix_spawn(3)'s two arguments that need an end: what the new process is, and what it has open.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>

namespace pgrm::agent {

/// `apart` is POSIX_SPAWN_SETPGROUP, a process group of its own, or POSIX_SPAWN_SETSID, a session of its own. The new
/// process has no blocked signals (the agent's are, see signals.h).
struct SpawnAttributes {
  posix_spawnattr_t value{};
  explicit SpawnAttributes(int apart) {
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_init(&value);
    posix_spawnattr_setpgroup(&value, 0);
    posix_spawnattr_setsigmask(&value, &none);
    posix_spawnattr_setflags(&value, static_cast<short>(apart | POSIX_SPAWN_SETSIGMASK));
  }
  ~SpawnAttributes() { posix_spawnattr_destroy(&value); }
  SpawnAttributes(const SpawnAttributes&) = delete;
  SpawnAttributes& operator=(const SpawnAttributes&) = delete;
};

/// Nothing to read; all else as the caller adds it.
struct SpawnFiles {
  posix_spawn_file_actions_t value{};
  SpawnFiles() {
    posix_spawn_file_actions_init(&value);
    posix_spawn_file_actions_addopen(&value, 0, "/dev/null", O_RDONLY, 0);
  }
  ~SpawnFiles() { posix_spawn_file_actions_destroy(&value); }
  SpawnFiles(const SpawnFiles&) = delete;
  SpawnFiles& operator=(const SpawnFiles&) = delete;
};

}  // namespace pgrm::agent
