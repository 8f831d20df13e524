#include "loadgen/workload.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>
#include <vector>

#include "core/base/error.h"
#include "loadgen/catalogue.h"

namespace pgrm::loadgen {
namespace {

// A row is picked by a position in [0, 1) of the ids that there are at that moment, so that no client has to know them:
// the row at that id or, when there is none, the next one. Written from an integer: that costs a tenth of a double.
std::string position(Random& random) { return fmt::format("0.{:09}", random.below(1'000'000'000)); }

std::string full_name(Random& random) {
  return fmt::format("{} {}", random.one_of(first_names), random.one_of(last_names));
}

void bind_new_user(Random& random, Params& params) {
  params.emplace_back(full_name(random));
  params.emplace_back(random.one_of(cities));
}

void bind_new_product(Random& random, Params& params) {
  const Good& good = random.one_of(goods);
  params.emplace_back(fmt::format("{} {}", random.one_of(adjectives), good.name));
  params.emplace_back(good.category);
  params.emplace_back(fmt::format("{}.{:02}", random.between(1, 499), random.between(0, 99)));
  params.emplace_back(fmt::format_int(random.between(0, 1000)).str());
}

void bind_new_order(Random& random, Params& params) {
  params.emplace_back(position(random));
  std::string positions;
  std::string quantities;
  const int items = random.between(1, 5);
  for (int item = 0; item < items; ++item) {
    const char separator = item == 0 ? '{' : ',';
    fmt::format_to(std::back_inserter(positions), "{}{}", separator, position(random));
    fmt::format_to(std::back_inserter(quantities), "{}{}", separator, random.between(1, 4));
  }
  params.emplace_back(positions + '}');
  params.emplace_back(quantities + '}');
}

void bind_user_info(Random& random, Params& params) {
  params.emplace_back(position(random));
  bind_new_user(random, params);
}

void bind_stock(Random& random, Params& params) {
  params.emplace_back(position(random));
  params.emplace_back(fmt::format_int(random.between(-10, 10)).str());
}

void bind_order_status(Random& random, Params& params) {
  params.emplace_back(position(random));
  params.emplace_back(random.one_of(order_statuses));
}

void bind_position(Random& random, Params& params) { params.emplace_back(position(random)); }

void bind_nothing(Random&, Params&) {}

}  // namespace

const std::array<Operation, 8> operations{
    Operation{"insert_user",
              Kind::insert,
              "users",
              3,
              {"insert_user", R"sql(
WITH proof AS (INSERT INTO loadgen_operations (run, operation) VALUES ($1::bigint, $2::bigint))
INSERT INTO users (username, email, full_name, city)
VALUES (format('user-%s-%s', $1::bigint, $2::bigint), format('user-%s-%s@example.com', $1::bigint, $2::bigint), $3, $4)
)sql"},
              bind_new_user},
    Operation{"insert_product",
              Kind::insert,
              "products",
              1,
              {"insert_product", R"sql(
WITH proof AS (INSERT INTO loadgen_operations (run, operation) VALUES ($1::bigint, $2::bigint))
INSERT INTO products (sku, name, category, price, stock)
VALUES (format('P-%s-%s', $1::bigint, $2::bigint), $3, $4, $5, $6)
)sql"},
              bind_new_product},
    // The items go first, all of them (count reads to the end), so that the order is written once, with its total.
    Operation{"insert_order",
              Kind::insert,
              "orders",
              6,
              {"insert_order", R"sql(
WITH proof AS (INSERT INTO loadgen_operations (run, operation) VALUES ($1::bigint, $2::bigint)),
buyer AS (
  SELECT id FROM users WHERE deleted_at IS NULL AND id >= ($3::float8 * (SELECT max(id) FROM users))::bigint
   ORDER BY id LIMIT 1),
new AS MATERIALIZED (SELECT nextval('orders_id_seq') AS order_id),
items AS (
  INSERT INTO order_items (order_id, product_id, quantity, unit_price)
  SELECT DISTINCT ON (product.id) new.order_id, product.id, wanted.quantity, product.price
    FROM new, buyer, unnest($4::float8[], $5::integer[]) AS wanted (position, quantity),
         LATERAL (SELECT id, price FROM products
                   WHERE id >= (wanted.position * (SELECT max(id) FROM products))::bigint ORDER BY id LIMIT 1) AS product
  RETURNING order_id)
INSERT INTO orders (id, user_id, status)
SELECT new.order_id, buyer.id, 'pending' FROM new, buyer WHERE (SELECT count(*) FROM items) > 0
)sql"},
              bind_new_order},
    Operation{"update_user",
              Kind::update,
              "users",
              3,
              {"update_user", R"sql(
WITH proof AS (INSERT INTO loadgen_operations (run, operation) VALUES ($1::bigint, $2::bigint))
UPDATE users SET full_name = $4, city = $5
 WHERE id = (SELECT id FROM users WHERE deleted_at IS NULL AND id >= ($3::float8 * (SELECT max(id) FROM users))::bigint
              ORDER BY id LIMIT 1)
)sql"},
              bind_user_info},
    Operation{"update_stock",
              Kind::update,
              "products",
              4,
              {"update_stock", R"sql(
WITH proof AS (INSERT INTO loadgen_operations (run, operation) VALUES ($1::bigint, $2::bigint))
UPDATE products SET stock = greatest(0, stock + $4::integer)
 WHERE id = (SELECT id FROM products WHERE id >= ($3::float8 * (SELECT max(id) FROM products))::bigint
              ORDER BY id LIMIT 1)
)sql"},
              bind_stock},
    Operation{"update_order_status",
              Kind::update,
              "orders",
              3,
              {"update_order_status", R"sql(
WITH proof AS (INSERT INTO loadgen_operations (run, operation) VALUES ($1::bigint, $2::bigint))
UPDATE orders SET status = $4
 WHERE id = (SELECT id FROM orders WHERE id >= ($3::float8 * (SELECT max(id) FROM orders))::bigint ORDER BY id LIMIT 1)
)sql"},
              bind_order_status},
    Operation{"soft_delete_user",
              Kind::remove,
              "users",
              1,
              {"soft_delete_user", R"sql(
WITH proof AS (INSERT INTO loadgen_operations (run, operation) VALUES ($1::bigint, $2::bigint))
UPDATE users SET deleted_at = now()
 WHERE id = (SELECT id FROM users WHERE deleted_at IS NULL AND id >= ($3::float8 * (SELECT max(id) FROM users))::bigint
              ORDER BY id LIMIT 1)
)sql"},
              bind_position},
    Operation{"purge_audit_log",
              Kind::remove,
              "audit_log",
              1,
              {"purge_audit_log", R"sql(
WITH proof AS (INSERT INTO loadgen_operations (run, operation) VALUES ($1::bigint, $2::bigint))
DELETE FROM audit_log
 WHERE id = ANY (ARRAY(
   SELECT id FROM (SELECT id, changed_at FROM audit_log ORDER BY id LIMIT 50 FOR UPDATE SKIP LOCKED) AS oldest
    WHERE changed_at < now() - interval '5 minutes'))
)sql"},
              bind_nothing},
};

namespace {

std::array<int, kind_count> sum_of_shares() {
  std::array<int, kind_count> sums{};
  for (const Operation& row : operations) sums[index_of(row.kind)] += row.share;
  return sums;
}

const std::array<int, kind_count> shares_of = sum_of_shares();

}  // namespace

Mix parse_mix(const std::string& text) {
  Mix mix{};
  char rest = '\0';
  // NOLINTNEXTLINE(cert-err34-c): what does not fit an int fails the sum
  const int read = std::sscanf(text.c_str(), "%3d/%3d/%3d%c", &mix[0], &mix[1], &mix[2], &rest);
  const bool positive = std::ranges::all_of(mix, [](int share) { return share >= 0; });
  if (read != 3 || !positive || mix[0] + mix[1] + mix[2] != 100) {
    throw Error(ErrorCode::configuration,
                fmt::format("--mix is \"{}\", allowed: three percentages that add up to 100", text),
                "e.g. --mix 50/40/10: inserts, updates, deletes");
  }
  return mix;
}

Workload::Work Workload::make(std::uint64_t number) const {
  Random random(seed_, number);

  std::size_t kind = 0;
  for (int left = random.between(0, 99); left >= mix_[kind]; ++kind) left -= mix_[kind];

  std::size_t chosen = 0;
  for (int left = random.between(0, shares_of[kind] - 1);; ++chosen) {
    const Operation& row = operations[chosen];
    if (index_of(row.kind) != kind) continue;
    if (left < row.share) break;
    left -= row.share;
  }

  Work work{chosen, {}};
  work.params.reserve(6);
  work.params.emplace_back(fmt::format_int(run_).str());
  work.params.emplace_back(fmt::format_int(number).str());
  operations[chosen].bind(random, work.params);
  return work;
}

}  // namespace pgrm::loadgen
