// What loadgen does to the database: a table of operations, each one statement in a transaction of its own.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/pg/session.h"
#include "loadgen/random.h"

namespace pgrm::loadgen {

enum class Kind : std::uint8_t { insert, update, remove };
inline constexpr std::array<std::string_view, 3> kind_names{"insert", "update", "delete"};
inline constexpr std::size_t kind_count = kind_names.size();
constexpr std::size_t index_of(Kind kind) { return static_cast<std::size_t>(kind); }

/// One round trip to the server. Parameters 1 and 2 are the run and the operation's number, which the statement commits
/// into loadgen_operations together with its effect: that is the proof. No two operations can deadlock: each locks its
/// own new rows and at most one old one (purge_audit_log: several, but it skips what another one has locked).
struct Operation {
  const char* name;  // stable: ledger, logs
  Kind kind;
  const char* table;  // whose rows it is about: metrics
  int share;          // weight among the operations of its kind
  Statement statement;
  void (*bind)(Random& random, Params& params);  // appends parameters 3 and up
};

extern const std::array<Operation, 8> operations;

/// Audit rows younger than this are never purged: verify relies on it.
inline constexpr auto audit_retention_sql = "interval '5 minutes'";

/// Percentages by kind, in the order of kind_names; they add up to 100.
using Mix = std::array<int, kind_count>;
inline constexpr Mix default_mix{50, 40, 10};
/// "50/40/10". Throws Error(configuration).
Mix parse_mix(const std::string& text);

/// Immutable; any number of threads may use it.
class Workload {
 public:
  /// `run`: unique to this run of loadgen; it is also part of the names of what is inserted.
  Workload(std::int64_t run, std::uint64_t seed, const Mix& mix) : run_(run), seed_(seed), mix_(mix) {}

  struct Work {
    std::size_t operation;  // index into operations
    Params params;
  };
  /// The same for the same run, seed, mix and number.
  Work make(std::uint64_t number) const;

  std::int64_t run() const { return run_; }

 private:
  std::int64_t run_;
  std::uint64_t seed_;
  Mix mix_;
};

}  // namespace pgrm::loadgen
