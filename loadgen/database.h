// Which database this is, and whether it is loadgen's.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/pg/session.h"

namespace pgrm::loadgen {

struct Database {
  std::string identity;  // "SYSTEM_IDENTIFIER/UUID": the same on a primary and its standbys, nowhere else
  std::int64_t seed = 0;
  std::int64_t users = 0, products = 0, orders = 0;                       // wanted
  std::int64_t users_seeded = 0, products_seeded = 0, orders_seeded = 0;  // there

  bool guarded = false;  // keys, indexes and triggers are there: the last step of the seeding

  bool complete() const {
    return users_seeded == users && products_seeded == products && orders_seeded == orders && guarded;
  }
};

/// nullopt: loadgen's schema is not there. REQUIRES: the session is open.
std::optional<Database> find_database(Session& session);

/// A database that loadgen can run on. Throws Error(configuration) with the command that makes it one.
Database seeded_database(Session& session);

}  // namespace pgrm::loadgen
