// The client's own record of how every operation ended, on its disk: what the server's memory is checked against.
//
// A text file that is only ever appended to, in batches:
//   pgrm-ledger 1 IDENTITY          first line: version, and the database that it is about
//   run RUN TIME                    a run of loadgen begins; what follows belongs to it
//   a NUMBER OPERATION              acknowledged
//   f NUMBER OPERATION SQLSTATE     failed ("-": never sent)
//   d NUMBER OPERATION              in doubt
//   end                             the run ended with nothing in flight: every operation is recorded
//   = LINES PREVIOUS CHECKSUM TIME  seals the lines since the last seal; the checksum goes on from that one's
// A batch is on the disk before the next one is written, so only the last one can be torn, and none of it was counted.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "core/base/clock.h"
#include "loadgen/stats.h"

namespace pgrm::loadgen {

/// Appends to a ledger on a thread of its own, so that a caller does not wait for the disk.
class Ledger {
 public:
  /// Gets every batch after it is on the disk, on the ledger's thread.
  using Durable = std::function<void(std::span<const Outcome>)>;
  /// Called once, on the ledger's thread, when it cannot go on; flush() and finish() throw from then on.
  using Failed = std::function<void()>;

  /// Opens `path` and locks it, or creates it; drops a torn tail. Throws Error(configuration) when it is not a ledger
  /// or is one of another database, Error(file_failed) when it cannot be written or is in use.
  Ledger(const std::string& path, const std::string& identity, std::int64_t run, const Clock& clock, Durable durable,
         Failed failed);
  /// Writes what was recorded. The run is not marked as ended: that is finish()'s.
  ~Ledger();
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;

  /// Thread-safe. Waits only when the disk is 64 Ki outcomes behind. After a failure it does nothing.
  void record(Outcome outcome);
  /// Waits until everything recorded so far is on the disk. Thread-safe. Throws Error(file_failed).
  void flush();
  /// flush(), then marks the run as ended. REQUIRES: nothing is recorded any more. Throws Error(file_failed).
  void finish();

 private:
  class File {
   public:
    explicit File(const std::string& path);
    ~File();
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    void cut(std::uint64_t size);
    /// All of it on the disk, or nothing of it in the file.
    void append(const std::string& text);

   private:
    [[noreturn]] void fail(const char* what) const;

    std::string path_;
    int descriptor_ = -1;
    std::uint64_t size_ = 0;
  };

  void write_batches();
  void write(std::span<const Outcome> outcomes, bool end);
  void add_line(std::string_view line);
  void seal();

  const std::string path_;
  const std::int64_t run_;
  const Clock& clock_;
  const Durable durable_;
  const Failed failed_;

  File file_;
  std::string text_;                  // of the batch that is being written
  int lines_ = 0;                     // in it
  std::uint64_t batch_checksum_ = 0;  // up to its last line
  std::uint64_t checksum_ = 0;        // of the last seal

  std::mutex mutex_;
  std::condition_variable work_;      // something to write, or somebody in a hurry
  std::condition_variable progress_;  // a batch is done
  std::vector<Outcome> queue_;
  std::uint64_t recorded_ = 0;
  std::uint64_t written_ = 0;
  int hurry_ = 0;  // how many wait in flush()
  bool finish_ = false;
  bool stop_ = false;
  std::exception_ptr failure_;
  std::jthread writer_;  // last: it uses everything above
};

struct LedgerReader {
  /// In the order of the file; each may be empty.
  std::function<void(std::int64_t run)> run_began;
  std::function<void(std::int64_t run, std::uint64_t number, Result result)> outcome;
  std::function<void(std::int64_t run)> run_ended;
};

struct LedgerContent {
  std::string identity;           // empty: not even the first batch is whole
  std::uint64_t whole_bytes = 0;  // up to the last seal
  std::uint64_t torn_bytes = 0;   // after it
  std::uint64_t checksum = 0;     // of the last seal
};

/// Reads a ledger from its beginning, also while it is being written; memory does not grow with its length. Throws
/// Error(file_failed) when it cannot be read or is damaged before its end, Error(configuration) when it is no ledger.
LedgerContent read_ledger(const std::string& path, const LedgerReader& reader);

}  // namespace pgrm::loadgen
