#include "loadgen/database.h"

#include "core/base/error.h"

namespace pgrm::loadgen {
namespace {

constexpr auto question_deadline = std::chrono::seconds(10);

constexpr Statement schema_present{"schema_present", "SELECT to_regclass('loadgen_database') IS NOT NULL AS present"};

// What an older loadgen has seeded lacks the last two columns: it stays good for run and verify.
constexpr Statement read_database{"read_database", R"sql(
SELECT (SELECT system_identifier FROM pg_control_system()) || '/' || identity AS identity, seed,
       users, products, orders, users_seeded, products_seeded, orders_seeded, guarded,
       coalesce((to_jsonb(d) ->> 'vacuumed')::boolean, guarded) AS vacuumed,
       coalesce((to_jsonb(d) ->> 'version')::bigint, 0) AS version
  FROM loadgen_database AS d
)sql"};

// Runs of consecutive numbers among the next $3 operations: a few rows instead of many.
constexpr Statement read_piece{"read_operations", R"sql(
SELECT min(operation) AS first, max(operation) AS last
  FROM (SELECT operation, operation - row_number() OVER (ORDER BY operation) AS island
          FROM (SELECT operation FROM loadgen_operations WHERE run = $1 AND operation >= $2
                 ORDER BY operation LIMIT $3) AS piece) AS numbered
 GROUP BY island ORDER BY first
)sql"};
constexpr std::uint64_t piece = 100'000;

// From one run to the next along the index, instead of through all rows.
constexpr Statement runs{"read_runs", R"sql(
WITH RECURSIVE there (run) AS (
  SELECT min(run) FROM loadgen_operations
   UNION ALL
  SELECT (SELECT min(run) FROM loadgen_operations WHERE run > there.run) FROM there WHERE run IS NOT NULL)
SELECT run FROM there WHERE run IS NOT NULL
)sql"};

}  // namespace

std::optional<Database> find_database(Session& session) {
  if (!session.execute(schema_present, {}, question_deadline).one().boolean("present").value()) return std::nullopt;
  const Rows rows = session.execute(read_database, {}, question_deadline);
  if (rows.size() == 0) return std::nullopt;
  const Rows::Row row = rows.one();
  return Database{.identity = row.text("identity").value(),
                  .seed = row.integer("seed").value(),
                  .users = row.integer("users").value(),
                  .products = row.integer("products").value(),
                  .orders = row.integer("orders").value(),
                  .users_seeded = row.integer("users_seeded").value(),
                  .products_seeded = row.integer("products_seeded").value(),
                  .orders_seeded = row.integer("orders_seeded").value(),
                  .guarded = row.boolean("guarded").value(),
                  .vacuumed = row.boolean("vacuumed").value(),
                  .version = row.integer("version").value()};
}

Database seeded_database(Session& session) {
  const auto database = find_database(session);
  if (database && database->complete()) return *database;
  throw Error(ErrorCode::configuration,
              session.conninfo().describe() + (database ? " is seeded in part only" : " has no tables of loadgen's"),
              "run: loadgen seed");
}

void read_operations(Session& session, std::int64_t run, std::uint64_t from, Duration deadline,
                     const std::stop_token& stop,
                     const std::function<void(std::uint64_t first, std::uint64_t last)>& found) {
  for (;;) {
    if (stop.stop_requested()) throw Error(ErrorCode::proof_failed, "interrupted: nothing is proven");
    const Rows rows =
        session.execute(read_piece, {std::to_string(run), std::to_string(from), std::to_string(piece)}, deadline);
    std::uint64_t read = 0;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto first = static_cast<std::uint64_t>(rows[i].integer("first").value());
      const auto last = static_cast<std::uint64_t>(rows[i].integer("last").value());
      found(first, last);
      read += last - first + 1;
      from = last + 1;
    }
    // What is written meanwhile belongs to another look: otherwise a load could keep this one from ending.
    if (read < piece) return;
  }
}

std::vector<std::int64_t> read_runs(Session& session, Duration deadline) {
  const Rows rows = session.execute(runs, {}, deadline);
  std::vector<std::int64_t> result;
  for (std::size_t i = 0; i < rows.size(); ++i) result.push_back(rows[i].integer("run").value());
  return result;
}

}  // namespace pgrm::loadgen
