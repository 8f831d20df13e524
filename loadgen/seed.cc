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

constexpr Statement lock{"seed_lock", "SELECT pg_try_advisory_lock(hashtext('loadgen seed')) AS locked"};

constexpr Statement cancel{"seed_cancel", "SELECT pg_cancel_backend($1::integer)"};

constexpr auto drop_sql = R"sql(
DROP TABLE IF EXISTS loadgen_database, loadgen_operations, audit_log, order_items, orders, products, users;
DROP FUNCTION IF EXISTS set_updated_at(), set_total_amount(), update_total_amount(), write_audit_log();
)sql";

// The first ids belong to the seed; the sequences go on after them.
constexpr auto begin_sql = R"sql(
INSERT INTO loadgen_database (seed, users, products, orders) VALUES ({}, {}, {}, {});
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
  Statement note;  // how far it has come, in the transaction of the rows
};

constexpr std::array parts{
    Part{"users",
         &Database::users,
         &Database::users_seeded,
         user_rows,
         {"seeded_users", "UPDATE loadgen_database SET users_seeded = $1::bigint"}},
    Part{"products",
         &Database::products,
         &Database::products_seeded,
         product_rows,
         {"seeded_products", "UPDATE loadgen_database SET products_seeded = $1::bigint"}},
    Part{"orders",
         &Database::orders,
         &Database::orders_seeded,
         order_rows,
         {"seeded_orders", "UPDATE loadgen_database SET orders_seeded = $1::bigint"}},
};

void seed_piece(Session& session, const Part& part, const Shop& shop, std::int64_t first, std::int64_t last) {
  session.script(begin_piece, statement_deadline);
  for (const TableRows& rows : part.rows(shop, first, last)) {
    session.copy(rows.table, rows.columns, statement_deadline, rows.put);
  }
  session.execute(part.note, {std::to_string(last)}, statement_deadline);
  session.script("COMMIT", statement_deadline);
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

/// While it lives, a stop also ends what `session` waits for: the keys of many rows take minutes.
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
  if (options.reset) session.script(drop_sql, statement_deadline);
  auto database = find_database(session);
  if (!database) {
    // In one transaction: the tables are there with their row, or not at all.
    const Shop shop = shop_of(options);
    session.script(
        schema_sql + fmt::format(begin_sql, shop.seed, shop.users, shop.products, shop.orders, shop.users + 1,
                                 shop.products + 1, shop.orders + 1, item_count(shop) + 1, audit_count(shop) + 1),
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
  return *database;
}

}  // namespace

bool seed(const Conninfo& server, const SeedOptions& options, const Clock& clock, const std::stop_token& stop,
          std::ostream& out, bool live) {
  if (options.orders > 0 && (options.users == 0 || options.products == 0)) {
    throw Error(ErrorCode::configuration, "orders need at least one user and one product");
  }
  Session session(server, "pgrm-loadgen-seed");
  session.open(connect_deadline);
  // The one before may have ended, and its session not yet.
  const WaitEnd locked = wait_until(clock, lock_budget, std::chrono::milliseconds(20), stop, [&session] {
    return session.execute(lock, {}, statement_deadline).one().boolean("locked").value();
  });
  if (locked == WaitEnd::timed_out) {
    throw Error(ErrorCode::configuration, "another loadgen seeds this database", "wait until it is done");
  }
  Database database = find_or_begin(session, options);
  const bool complete = database.complete();
  out << (complete ? "seeded already: " : "seeding ") << session.conninfo().describe() << '\n';

  for (const Part& part : parts) {
    const std::int64_t wanted = database.*part.wanted;
    std::int64_t done = database.*part.seeded;
    Progress progress(part, wanted, done, clock, out, live);
    while (done < wanted) {
      if (stop.stop_requested()) {
        out << (live ? "\n" : "") << interrupted;
        return false;
      }
      const std::int64_t last = std::min(wanted, done + chunk);
      seed_piece(session, part, shop_of(options), done + 1, last);
      done = last;
      if (done < wanted) progress.show(done);
    }
    progress.show(done);
  }
  if (complete) return true;

  out << "  keys, indexes and triggers" << std::flush;
  const Mono began = clock.now();
  try {
    const CancelOnStop cancelled(session, stop);
    session.script(room_for_keys, statement_deadline);
    if (!database.guarded) session.script(guards_sql, guards_deadline);
    // Plans and visibility as in a database that lives: the first operations should not be slower than the rest.
    session.script("VACUUM (ANALYZE) users, products, orders, order_items, audit_log", guards_deadline);
  } catch (const SqlError&) {
    if (!stop.stop_requested()) throw;
    out << '\n' << interrupted;
    return false;
  }
  out << fmt::format("  {}\n", human(clock.now() - began));
  return true;
}

}  // namespace pgrm::loadgen
