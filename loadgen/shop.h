// The rows of the seed. What is in each depends on nothing but the seed, the counts and the row's number, so that
// pieces can be made in any order and again; and they are made here, because a server takes rows by COPY faster than it
// makes them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/pg/session.h"

namespace pgrm::loadgen {

/// Raise it with every change of what is in a row: the version that made half of the rows must make the rest.
inline constexpr std::int64_t shop_version = 2;

struct Shop {
  std::int64_t seed = 1;
  std::int64_t users = 0, products = 0, orders = 0;
};

/// What COPY puts into one table.
struct TableRows {
  std::string table;
  std::vector<std::string> columns;
  std::function<void(const PutRow&)> put;
};

/// Users, products and orders `first` to `last` (their ids; an order has its items with it), and what the triggers of
/// guards.sql would have written into audit_log. Orders REQUIRE users and products. To be put once, in this order.
std::vector<TableRows> user_rows(const Shop& shop, std::int64_t first, std::int64_t last);
std::vector<TableRows> product_rows(const Shop& shop, std::int64_t first, std::int64_t last);
std::vector<TableRows> order_rows(const Shop& shop, std::int64_t first, std::int64_t last);

/// All rows of order_items and audit_log: their ids begin at 1 and have no gap.
std::int64_t item_count(const Shop& shop);
std::int64_t audit_count(const Shop& shop);

}  // namespace pgrm::loadgen
