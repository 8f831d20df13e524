/* Preloaded into a server or the agent: misfortunes that no other means brings about. Each is switched on by a file in the
 * program's working directory, which for a server is its data directory.
 *
 *   misfortune.clock   seconds by which its wall clock is wrong
 *   misfortune.fsync   fsync() and fdatasync() fail with EIO
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long wrong_by(void) {
  char text[32] = "";
  const int saved = errno;
  const int file = (int)syscall(SYS_openat, AT_FDCWD, "misfortune.clock", O_RDONLY | O_CLOEXEC);
  long seconds = 0;
  if (file >= 0) {
    if (syscall(SYS_read, file, text, sizeof text - 1) > 0) seconds = atol(text);
    syscall(SYS_close, file);
  }
  errno = saved;
  return seconds;
}

int clock_gettime(clockid_t clock, struct timespec* now) {
  const int result = (int)syscall(SYS_clock_gettime, clock, now);
  if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += wrong_by();
  return result;
}

int gettimeofday(struct timeval* now, void* zone) {
  (void)zone;
  struct timespec precise;
  const int result = clock_gettime(CLOCK_REALTIME, &precise);
  now->tv_sec = precise.tv_sec;
  now->tv_usec = precise.tv_nsec / 1000;
  return result;
}

time_t time(time_t* out) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out) *out = now.tv_sec;
  return now.tv_sec;
}

static int fails(void) {
  if (access("misfortune.fsync", F_OK) != 0) return 0;
  errno = EIO;
  return 1;
}

int fsync(int file) { return fails() ? -1 : (int)syscall(SYS_fsync, file); }
int fdatasync(int file) { return fails() ? -1 : (int)syscall(SYS_fdatasync, file); }
