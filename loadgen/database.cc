#include "loadgen/database.h"

#include "core/base/error.h"

namespace pgrm::loadgen {
namespace {

constexpr auto deadline = std::chrono::seconds(10);

constexpr Statement schema_present{"schema_present", "SELECT to_regclass('loadgen_database') IS NOT NULL AS present"};

constexpr Statement read_database{"read_database", R"sql(
SELECT (SELECT system_identifier FROM pg_control_system()) || '/' || identity AS identity, seed,
       users, products, orders, users_seeded, products_seeded, orders_seeded, guarded
  FROM loadgen_database
)sql"};

}  // namespace

std::optional<Database> find_database(Session& session) {
  if (!session.execute(schema_present, {}, deadline).one().boolean("present").value()) return std::nullopt;
  const Rows rows = session.execute(read_database, {}, deadline);
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
                  .guarded = row.boolean("guarded").value()};
}

Database seeded_database(Session& session) {
  const auto database = find_database(session);
  if (database && database->complete()) return *database;
  throw Error(ErrorCode::configuration,
              session.conninfo().describe() + (database ? " is seeded in part only" : " has no tables of loadgen's"),
              "run: loadgen seed");
}

}  // namespace pgrm::loadgen
