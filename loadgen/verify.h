// `loadgen verify`: the ledger against the servers.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "core/pg/conninfo.h"
#include "loadgen/ranges.h"
#include "loadgen/stats.h"

namespace pgrm::loadgen {

/// What a ledger says about one run, and what a server turned out to hold of it. One byte per operation.
class RunProof {
 public:
  void record(std::uint64_t number, Result result);
  void ended() { ended_ = true; }
  /// The server holds operations `first` to `last`. In ascending order.
  void found(std::uint64_t first, std::uint64_t last);
  /// Whether found() was told of it.
  bool present(std::uint64_t number) const;

  struct Verdict {
    std::uint64_t acknowledged = 0, failed = 0, in_doubt = 0;  // as recorded
    std::uint64_t in_doubt_present = 0;
    Ranges missing;         // acknowledged, and not there: lost
    Ranges failed_present;  // refused, and there all the same
    Ranges unrecorded;      // there, and not in the ledger
    bool ended = false;     // without it, what was in flight at the end is rightly unrecorded
    bool holds() const {
      return missing.count() == 0 && failed_present.count() == 0 && (!ended || unrecorded.count() == 0);
    }
  };
  Verdict verdict() const;

 private:
  std::vector<std::uint8_t> operations_;  // by number: Result + 1, or 0 when not recorded; present_bit
  Ranges unrecorded_;
  bool ended_ = false;
};

using Proof = std::map<std::int64_t, RunProof>;  // by run

struct VerifyOptions {
  std::string ledger{};
  Pair pair{};
  /// The first must hold every acknowledged write, the others nothing that the first does not hold. Empty: the pair,
  /// the server that takes writes first; the other one is left out with a note when it cannot be reached.
  std::vector<Conninfo> against{};
  bool json = false;
};

/// `dsn` with user, database and password taken from the pair's primary where it names none. Throws Error(usage) for a
/// password in it: it comes from the command line.
Conninfo server_to_verify(const std::string& dsn, const Pair& pair);

/// Prints what was found to `out`; true when all of it is as it should be. Changes nothing on any server. Throws Error
/// when nothing can be said: ledger or server cannot be read, or they are not about the same database.
bool verify(const VerifyOptions& options, const std::stop_token& stop, std::ostream& out);

}  // namespace pgrm::loadgen
