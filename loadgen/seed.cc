#include "loadgen/seed.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/base/wait.h"
#include "core/pg/session.h"
#include "loadgen/database.h"
#include "loadgen/report.h"
#include "loadgen/schema_sql.h"
#include "loadgen/shop.h"

namespace pgrm::loadgen {
namespace {

constexpr auto connect_deadline = std::chrono::seconds(5);
constexpr auto lock_budget = std::chrono::seconds(5);
constexpr auto statement_deadline = std::chrono::minutes(10);
constexpr auto guards_deadline = std::chrono::hours(24);
// Rows in one transaction: enough to be fast, few enough to show progress and to lose little by an interruption.
constexpr std::int64_t chunk = 20'000;

constexpr auto interrupted = "interrupted: run it again to go on from here\n";

// What ends the seeding: plans and visibility as in a database that lives, so that the first operations are not slower
// than the rest.
constexpr auto vacuum_sql = "VACUUM (ANALYZE) users, products, orders, order_items, audit_log";
constexpr auto vacuumed_sql = "UPDATE loadgen_database SET vacuumed = true";

constexpr Statement lock{"seed_lock", "SELECT pg_try_advisory_lock(hashtext('loadgen seed')) AS locked"};

constexpr Statement cancel{"seed_cancel", "SELECT pg_cancel_backend($1::integer)"};

// What has one of loadgen's names in a database that it never began.
constexpr Statement strangers{"seed_strangers", R"sql(
SELECT string_agg(name, ', ') AS names
  FROM unnest(ARRAY['users', 'products', 'orders', 'order_items', 'audit_log', 'loadgen_operations',
                    'set_updated_at()', 'set_total_amount()', 'update_total_amount()', 'write_audit_log()']) AS name
 WHERE to_regclass('loadgen_database') IS NULL
   AND CASE WHEN name LIKE '%()' THEN to_regprocedure(name) IS NOT NULL ELSE to_regclass(name) IS NOT NULL END
)sql"};

constexpr auto drop_sql = R"sql(
DROP TABLE IF EXISTS loadgen_database, loadgen_operations, audit_log, order_items, orders, products, users;
DROP FUNCTION IF EXISTS set_updated_at(), set_total_amount(), update_total_amount(), write_audit_log();
)sql";

// The first ids belong to the seed; the sequences go on after them.
constexpr auto begin_sql = R"sql(
INSERT INTO loadgen_database (seed, users, products, orders, version) VALUES ({}, {}, {}, {}, {});
ALTER TABLE users ALTER id RESTART WITH {};
ALTER TABLE products ALTER id RESTART WITH {};
ALTER TABLE orders ALTER id RESTART WITH {};
ALTER TABLE order_items ALTER id RESTART WITH {};
ALTER TABLE audit_log ALTER id RESTART WITH {}
)sql";

// A piece need not be on disk before the next one is sent: what comes last, guards.sql, waits for all of them.
constexpr auto begin_piece = "BEGIN; SET LOCAL synchronous_commit = off";

// Sorted in memory rather than through files: a fifth less time for the keys of a million orders. The session ends with
// it.
constexpr auto room_for_keys = "SET maintenance_work_mem = '256MB'";

struct Part {
  const char* name;
  std::int64_t Database::*wanted;
  std::int64_t Database::*seeded;
  std::vector<TableRows> (*rows)(const Shop&, std::int64_t first, std::int64_t last);
};

constexpr std::array parts{Part{"users", &Database::users, &Database::users_seeded, user_rows},
                           Part{"products", &Database::products, &Database::products_seeded, product_rows},
                           Part{"orders", &Database::orders, &Database::orders_seeded, order_rows}};

/// False: interrupted, and the session of no use any more.
bool seed_piece(Session& session, const Part& part, const Shop& shop, std::int64_t first, std::int64_t last,
                const std::stop_token& stop) {
  session.script(begin_piece, statement_deadline);
  for (const TableRows& rows : part.rows(shop, first, last)) {
    if (stop.stop_requested()) return false;
    session.copy(rows.table, rows.columns, statement_deadline, rows.put);
  }
  // How far it has come, in the transaction of the rows.
  session.script(fmt::format("UPDATE loadgen_database SET {}_seeded = {}; COMMIT", part.name, last),
                 statement_deadline);
  return true;
}

/// One line per part; on a terminal it counts up in place, elsewhere it appears when the part is done or every 5 s.
class Progress {
 public:
  Progress(const Part& part, std::int64_t wanted, std::int64_t already, const Clock& clock, std::ostream& out,
           bool live)
      : part_(part), wanted_(wanted), already_(already), clock_(clock), out_(out), live_(live) {}

  void show(std::int64_t done) {
    const Mono now = clock_.now();
    const bool complete = done == wanted_;
    if (!live_ && !complete && now < next_line_) return;
    next_line_ = now + std::chrono::seconds(5);
    const double seconds = to_seconds(now - began_);
    std::string line = fmt::format("  {:<10} {:>13} of {}", part_.name, with_commas(static_cast<std::uint64_t>(done)),
                                   with_commas(static_cast<std::uint64_t>(wanted_)));
    if (done > already_ && seconds > 0) {
      const double rate = static_cast<double>(done - already_) / seconds;
      line += fmt::format("  {} rows/s", with_commas(static_cast<std::uint64_t>(rate)));
      if (!complete) line += fmt::format(", {} left", human(from_seconds(static_cast<double>(wanted_ - done) / rate)));
    }
    if (complete) line += done > already_ ? fmt::format(", {}", human(now - began_)) : "  already there";
    out_ << (live_ ? "\r\x1b[K" : "") << line << (live_ && !complete ? "" : "\n") << std::flush;
  }

 private:
  const Part& part_;
  std::int64_t wanted_, already_;
  const Clock& clock_;
  std::ostream& out_;
  bool live_;
  Mono began_ = clock_.now();
  Mono next_line_ = began_ + std::chrono::seconds(5);
};

/// While it lives, a stop also ends what `session` waits for: somebody's lock, or the keys of many rows, for minutes.
class CancelOnStop {
 public:
  CancelOnStop(const Session& session, const std::stop_token& stop)
      : callback_(stop, [server = session.conninfo(), pid = session.backend_pid()] {
          try {
            Session other(server, "pgrm-loadgen-seed");
            other.open(connect_deadline);
            other.execute(cancel, {std::to_string(pid)}, statement_deadline);
          } catch (const Error& error) {
            spdlog::warn("cannot cancel, so it goes on to its end: {}", error.what());
          }
        }) {}

 private:
  std::stop_callback<std::function<void()>> callback_;
};

Shop shop_of(const SeedOptions& options) {
  return {.seed = options.seed, .users = options.users, .products = options.products, .orders = options.orders};
}

Database find_or_begin(Session& session, const SeedOptions& options) {
  if (const auto names = session.execute(strangers, {}, statement_deadline).one().text("names")) {
    throw Error(ErrorCode::configuration,
                fmt::format("{} has what is not loadgen's under names that loadgen needs: {}",
                            session.conninfo().describe(), *names),
                "give loadgen a database of its own: POSTGRES_DB");
  }
  if (options.reset) session.script(drop_sql, statement_deadline);
  auto database = find_database(session);
  if (!database) {
    // In one transaction: the tables are there with their row, or not at all.
    const Shop shop = shop_of(options);
    session.script(schema_sql + fmt::format(begin_sql, shop.seed, shop.users, shop.products, shop.orders, shop_version,
                                            shop.users + 1, shop.products + 1, shop.orders + 1, item_count(shop) + 1,
                                            audit_count(shop) + 1),
                   statement_deadline);
    database = find_database(session);
  }
  const auto counts = [](const auto& of) {
    return fmt::format("{} users, {} products, {} orders, seed {}", of.users, of.products, of.orders, of.seed);
  };
  if (counts(*database) != counts(options)) {
    throw Error(ErrorCode::configuration,
                fmt::format("{} holds another seed: {}; asked for: {}", session.conninfo().describe(),
                            counts(*database), counts(options)),
                "ask for the same, or start over with --reset: it drops loadgen's tables");
  }
  if (!database->complete() && database->version != shop_version) {
    throw Error(ErrorCode::configuration,
                session.conninfo().describe() + " is seeded in part, by another version of loadgen",
                "start over with --reset: it drops loadgen's tables");
  }
  return *database;
}

/// Takes the lock that keeps a second seed out. False: interrupted.
bool locked(Session& session, const Clock& clock, const std::stop_token& stop) {
  // The one before may have ended, and its session not yet.
  const WaitEnd end = wait_until(clock, lock_budget, std::chrono::milliseconds(20), stop, [&session] {
    return session.execute(lock, {}, statement_deadline).one().boolean("locked").value();
  });
  if (end == WaitEnd::timed_out) {
    throw Error(ErrorCode::configuration, "another loadgen seeds this database", "wait until it is done");
  }
  return end == WaitEnd::reached;
}

/// What is missing of the rows. False: interrupted.
bool fill(Session& session, const Database& database, const Shop& shop, const Clock& clock, const std::stop_token& stop,
          std::ostream& out, bool live) {
  for (const Part& part : parts) {
    const std::int64_t wanted = database.*part.wanted;
    std::int64_t done = database.*part.seeded;
    Progress progress(part, wanted, done, clock, out, live);
    while (done < wanted) {
      if (stop.stop_requested()) return false;
      const std::int64_t last = std::min(wanted, done + chunk);
      if (!seed_piece(session, part, shop, done + 1, last, stop)) return false;
      done = last;
      if (done < wanted) progress.show(done);
    }
    progress.show(done);
  }
  return true;
}

void guard(Session& session, const Database& database, const Clock& clock, std::ostream& out) {
  out << "  keys, indexes and triggers" << std::flush;
  const Mono began = clock.now();
  session.script(room_for_keys, statement_deadline);
  if (!database.guarded) session.script(guards_sql, guards_deadline);
  session.script(vacuum_sql, guards_deadline);
  session.script(vacuumed_sql, statement_deadline);
  out << fmt::format("  {}\n", human(clock.now() - began));
}

}  // namespace

bool seed(const Conninfo& server, const SeedOptions& options, const Clock& clock, const std::stop_token& stop,
          std::ostream& out, bool live) {
  if (options.orders > 0 && (options.users == 0 || options.products == 0)) {
    throw Error(ErrorCode::configuration, "orders need at least one user and one product");
  }
  Session session(server, "pgrm-loadgen-seed");
  session.open(connect_deadline);
  if (!locked(session, clock, stop)) {
    out << interrupted;
    return false;
  }
  const Database database = find_or_begin(session, options);
  const bool complete = database.complete();
  out << (complete ? "seeded already: " : "seeding ") << session.conninfo().describe() << '\n';
  bool filled = false, was_cancelled = false;
  const auto end_line = [&] { out << (live || filled ? "\n" : ""); };  // of what is being done
  try {
    const CancelOnStop cancelled(session, stop);
    filled = fill(session, database, shop_of(options), clock, stop, out, live);
    if (filled && !complete) guard(session, database, clock, out);
  } catch (const Error& error) {
    was_cancelled = stop.stop_requested() && dynamic_cast<const SqlError*>(&error) != nullptr;
    if (!was_cancelled) {
      end_line();
      throw;
    }
  }
  if (filled && !was_cancelled) return true;
  end_line();
  out << interrupted;
  return false;
}

}  // namespace pgrm::loadgen
