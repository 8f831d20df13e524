// The benchmark's own client, which knows nothing of the programs that it judges: one autocommit INSERT every 5 ms; on
// any error it connects anew, at once. What it reports is the longest interval between two acknowledged commits.
//
//   write_client CONNINFO            write until SIGTERM, go on until 50 more commits are acknowledged, print JSON
//   write_client --promote CONNINFO  the floor: pg_promote() on this standby, until the first INSERT is acknowledged
//
// The table is bench_writes (id bigserial, at timestamptz). "ready" on standard output says that it writes steadily.
#include <libpq-fe.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

namespace {

using Clock = std::chrono::steady_clock;
using Ms = std::chrono::duration<double, std::milli>;

constexpr auto interval = std::chrono::milliseconds(5);
constexpr int steady = 100;                          // commits before "ready"
constexpr int afterwards = 50;                       // commits after SIGTERM
constexpr auto patience = std::chrono::seconds(60);  // without any commit

volatile std::sig_atomic_t told_to_end = 0;

using Connection = std::unique_ptr<PGconn, decltype(&PQfinish)>;

Connection open(const char* conninfo) { return {PQconnectdb(conninfo), PQfinish}; }

/// Whether it was acknowledged; otherwise `why` says what came instead.
bool run(PGconn* connection, const char* statement, std::string& why) {
  const std::unique_ptr<PGresult, decltype(&PQclear)> result(PQexec(connection, statement), PQclear);
  const ExecStatusType status = PQresultStatus(result.get());
  if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) return true;
  why = PQerrorMessage(connection);
  return false;
}

constexpr auto insert = "INSERT INTO bench_writes DEFAULT VALUES";

std::string quoted(std::string text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return out + "\"";
}

int write_until_told(const char* conninfo) {
  std::signal(SIGTERM, [](int) { told_to_end = 1; });
  Connection connection = open(conninfo);
  std::string why, first_error;
  int acknowledged = 0, errors = 0, left = afterwards;
  Ms longest{0};
  Clock::time_point last = Clock::now(), next = last;
  while (left > 0) {
    if (Clock::now() - last > patience) {
      std::fprintf(stderr, "write_client: no commit for 60 s: %s\n", why.c_str());
      return 1;
    }
    const bool connected = PQstatus(connection.get()) == CONNECTION_OK;
    if (!connected) why = PQerrorMessage(connection.get());
    if (!connected || !run(connection.get(), insert, why)) {
      if (acknowledged >= steady) {
        ++errors;
        if (first_error.empty()) first_error = why;
      }
      connection = open(conninfo);
      continue;  // at once: a client that waits measures its own wait
    }
    const Clock::time_point now = Clock::now();
    if (acknowledged >= steady) longest = std::max(longest, Ms(now - last));
    last = now;
    if (++acknowledged == steady) {
      std::puts("ready");
      std::fflush(stdout);
    }
    if (told_to_end != 0) --left;
    next = std::max(next + interval, now);
    std::this_thread::sleep_until(next);
  }
  std::printf("{\"gap_ms\": %.2f, \"errors\": %d, \"acknowledged\": %d, \"first_error\": %s}\n", longest.count(),
              errors, acknowledged, quoted(first_error).c_str());
  return 0;
}

int promote(const char* conninfo) {
  const Connection orders = open(conninfo), writes = open(conninfo);
  std::string why;
  // Both connections have been used before the clock starts.
  if (!run(orders.get(), "SELECT pg_is_in_recovery()", why) || !run(writes.get(), "SELECT 1", why)) {
    std::fprintf(stderr, "write_client: %s\n", why.c_str());
    return 1;
  }
  const Clock::time_point start = Clock::now();
  if (!run(orders.get(), "SELECT pg_promote(wait => false)", why)) {
    std::fprintf(stderr, "write_client: %s\n", why.c_str());
    return 1;
  }
  while (!run(writes.get(), insert, why)) {
    if (Clock::now() - start > patience) {
      std::fprintf(stderr, "write_client: not promoted within 60 s: %s\n", why.c_str());
      return 1;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  std::printf("{\"gap_ms\": %.2f, \"errors\": 0, \"acknowledged\": 1, \"first_error\": \"\"}\n",
              Ms(Clock::now() - start).count());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2) return write_until_told(argv[1]);
  if (argc == 3 && std::string_view(argv[1]) == "--promote") return promote(argv[2]);
  std::fprintf(stderr, "usage: write_client [--promote] CONNINFO\n");
  return 2;
}
