#include "loadgen/seed.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <functional>
#include <ostream>
#include <string>

#include "core/base/error.h"
#include "core/base/wait.h"
#include "core/pg/session.h"
#include "loadgen/catalogue.h"
#include "loadgen/database.h"
#include "loadgen/report.h"
#include "loadgen/schema_sql.h"

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
SELECT setval('users_id_seq', greatest(users, 1), users > 0), setval('products_id_seq', greatest(products, 1), products > 0),
       setval('orders_id_seq', greatest(orders, 1), orders > 0)
  FROM loadgen_database
)sql";

// A number in [0, bound) that depends on nothing but its arguments: PostgreSQL keeps its hash functions as they are,
// because hash partitions depend on them. And no time is spent on compiling statements that run for milliseconds.
constexpr auto helper_sql = R"sql(
CREATE OR REPLACE FUNCTION pg_temp.pick(n bigint, stream bigint, bound bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS 'SELECT (hashint8extended(n, stream) & 9223372036854775807) % bound';
SET jit = off
)sql";

// Parameters of the three below: 1 and 2 the first and the last row of the piece, 3 a seed (streams of random numbers
// are $3, $3 + 1, …), 4 and up what they name. Each statement inserts its piece, with what the triggers of guards.sql
// would have written, and notes how far it came.

constexpr Statement seed_users{"seed_users", R"sql(
WITH noted AS (UPDATE loadgen_database SET users_seeded = $2::bigint),
inserted AS (
  INSERT INTO users (id, username, email, full_name, city, created_at, updated_at)
  SELECT n, 'user' || n, 'user' || n || '@example.com',
         ($4::text[])[1 + pg_temp.pick(n, $3::bigint, cardinality($4::text[]))] || ' ' ||
         ($5::text[])[1 + pg_temp.pick(n, $3::bigint + 1, cardinality($5::text[]))],
         ($6::text[])[1 + pg_temp.pick(n, $3::bigint + 2, cardinality($6::text[]))],
         joined, joined
    FROM generate_series($1::bigint, $2::bigint) AS n,
         LATERAL (SELECT timestamptz '2024-01-01 00:00:00+00' +
                         pg_temp.pick(n, $3::bigint + 3, 31536000) * interval '1 second') AS since (joined)
  RETURNING id, updated_at)
INSERT INTO audit_log (table_name, operation, row_id, changed_at) SELECT 'users', 'INSERT', id, updated_at FROM inserted
)sql"};

constexpr Statement seed_products{"seed_products", R"sql(
WITH noted AS (UPDATE loadgen_database SET products_seeded = $2::bigint),
inserted AS (
  INSERT INTO products (id, sku, name, category, price, stock, created_at, updated_at)
  SELECT n, 'P' || n,
         ($4::text[])[1 + pg_temp.pick(n, $3::bigint, cardinality($4::text[]))] || ' ' || ($5::text[])[good],
         ($6::text[])[good],
         (100 + pg_temp.pick(n, $3::bigint + 2, 49900)) / 100.0,
         pg_temp.pick(n, $3::bigint + 3, 1001),
         timestamptz '2024-01-01 00:00:00+00', timestamptz '2024-01-01 00:00:00+00'
    FROM generate_series($1::bigint, $2::bigint) AS n,
         LATERAL (SELECT 1 + pg_temp.pick(n, $3::bigint + 1, cardinality($5::text[]))) AS choice (good)
  RETURNING id, updated_at)
INSERT INTO audit_log (table_name, operation, row_id, changed_at) SELECT 'products', 'INSERT', id, updated_at FROM inserted
)sql"};

// The products of an order differ, because they lie a step apart that is too short to come round to the first again.
constexpr Statement seed_orders{"seed_orders", R"sql(
WITH noted AS (UPDATE loadgen_database SET orders_seeded = $2::bigint),
new AS MATERIALIZED (
  SELECT n AS id,
         1 + pg_temp.pick(n, $3::bigint, $5::bigint) AS user_id,
         ($4::text[])[1 + pg_temp.pick(n, $3::bigint + 1, cardinality($4::text[]))] AS status,
         timestamptz '2025-01-01 00:00:00+00' + pg_temp.pick(n, $3::bigint + 2, 15552000) * interval '1 second' AS ordered,
         1 + pg_temp.pick(n, $3::bigint + 3, least(5, $6::bigint)) AS items,
         pg_temp.pick(n, $3::bigint + 4, $6::bigint) AS first,
         1 + pg_temp.pick(n, $3::bigint + 5, greatest(1, ($6::bigint - 1) / 5)) AS step
    FROM generate_series($1::bigint, $2::bigint) AS n),
items AS (
  INSERT INTO order_items (order_id, product_id, quantity, unit_price, created_at, updated_at)
  SELECT new.id, product.id, 1 + pg_temp.pick(new.id * 8 + item, $3::bigint + 6, 4), product.price, ordered, ordered
    FROM new CROSS JOIN generate_series(0, new.items - 1) AS item
    JOIN products AS product ON product.id = 1 + (new.first + item * new.step) % $6::bigint
  RETURNING id, order_id, subtotal, updated_at),
inserted AS (
  INSERT INTO orders (id, user_id, status, total_amount, created_at, updated_at)
  SELECT new.id, user_id, status, total, ordered, ordered
    FROM new JOIN (SELECT order_id AS id, sum(subtotal) AS total FROM items GROUP BY order_id) AS sums USING (id)
  RETURNING id, updated_at)
INSERT INTO audit_log (table_name, operation, row_id, changed_at)
SELECT 'order_items', 'INSERT', id, updated_at FROM items
 UNION ALL SELECT 'orders', 'INSERT', id, updated_at FROM inserted
)sql"};

/// An SQL array of the `member` of each element.
template <typename Elements, typename Member>
std::string sql_array(const Elements& elements, Member member) {
  std::string text = "{";
  for (const auto& element : elements) {
    if (text.size() > 1) text += ',';
    text += std::invoke(member, element);
  }
  return text + "}";
}

struct Part {
  const char* name;
  std::int64_t Database::*wanted;
  std::int64_t Database::*seeded;
  std::int64_t stream;  // apart from those of the other parts
  Statement statement;
  void (*bind)(const Database&, Params&);  // appends parameters 4 and up
};

constexpr std::array parts{
    Part{"users", &Database::users, &Database::users_seeded, 0, seed_users,
         [](const Database&, Params& params) {
           params.emplace_back(sql_array(first_names, std::identity()));
           params.emplace_back(sql_array(last_names, std::identity()));
           params.emplace_back(sql_array(cities, std::identity()));
         }},
    Part{"products", &Database::products, &Database::products_seeded, 100, seed_products,
         [](const Database&, Params& params) {
           params.emplace_back(sql_array(adjectives, std::identity()));
           params.emplace_back(sql_array(goods, &Good::name));
           params.emplace_back(sql_array(goods, &Good::category));
         }},
    Part{"orders", &Database::orders, &Database::orders_seeded, 200, seed_orders,
         [](const Database& database, Params& params) {
           params.emplace_back(sql_array(order_statuses, std::identity()));
           params.emplace_back(std::to_string(database.users));
           params.emplace_back(std::to_string(database.products));
         }},
};

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

Database find_or_begin(Session& session, const SeedOptions& options) {
  if (options.reset) session.script(drop_sql, statement_deadline);
  auto database = find_database(session);
  if (!database) {
    // In one transaction: the tables are there with their row, or not at all.
    session.script(schema_sql + fmt::format(begin_sql, options.seed, options.users, options.products, options.orders),
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
  session.script(helper_sql, statement_deadline);

  for (const Part& part : parts) {
    const std::int64_t wanted = database.*part.wanted;
    std::int64_t done = database.*part.seeded;
    Progress progress(part, wanted, done, clock, out, live);
    Params fixed;
    part.bind(database, fixed);
    while (done < wanted) {
      if (stop.stop_requested()) {
        out << (live ? "\n" : "") << interrupted;
        return false;
      }
      const std::int64_t last = std::min(wanted, done + chunk);
      Params params{std::to_string(done + 1), std::to_string(last), std::to_string(options.seed * 1000 + part.stream)};
      params.insert(params.end(), fixed.begin(), fixed.end());
      session.execute(part.statement, params, statement_deadline);
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
