// Which database this is, and whether it is loadgen's.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "core/pg/session.h"

namespace pgrm::loadgen {

struct Database {
  std::string identity;  // "SYSTEM_IDENTIFIER/UUID": the same on a primary and its standbys, nowhere else
  std::int64_t seed = 0;
  std::int64_t users = 0, products = 0, orders = 0;                       // wanted
  std::int64_t users_seeded = 0, products_seeded = 0, orders_seeded = 0;  // there

  bool guarded = false;      // keys, indexes and triggers are there
  bool vacuumed = false;     // with statistics: the last step of the seeding
  std::int64_t version = 0;  // of the rows that the seed makes, see shop.h

  bool complete() const {
    return users_seeded == users && products_seeded == products && orders_seeded == orders && guarded && vacuumed;
  }
};

/// nullopt: loadgen's schema is not there. REQUIRES: the session is open.
std::optional<Database> find_database(Session& session);

/// A database that loadgen can run on. Throws Error(configuration) with the command that makes it one.
Database seeded_database(Session& session);

/// Tells `found` which operations of `run` from number `from` on the server holds: ranges of consecutive numbers, in
/// ascending order. Memory does not grow with their number; `deadline` is for each piece of them. Throws
/// Error(proof_failed) when `stop` came first.
void read_operations(Session& session, std::int64_t run, std::uint64_t from, Duration deadline,
                     const std::stop_token& stop,
                     const std::function<void(std::uint64_t first, std::uint64_t last)>& found);

/// The runs of which the server holds any operation.
std::vector<std::int64_t> read_runs(Session& session, Duration deadline);

}  // namespace pgrm::loadgen
