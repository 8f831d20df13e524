#include "loadgen/shop.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string_view>

#include "loadgen/schema_sql.h"

namespace pgrm::loadgen {
namespace {

using Table = std::vector<std::vector<std::string>>;

constexpr Shop shop{.seed = 1, .users = 30, .products = 20, .orders = 500};

/// What all of `pieces` put, by table.
std::map<std::string, Table> collect(const std::vector<std::vector<TableRows>>& pieces) {
  std::map<std::string, Table> tables;
  for (const auto& piece : pieces) {
    for (const TableRows& rows : piece) {
      rows.put([&](std::initializer_list<std::string_view> row) {
        EXPECT_EQ(row.size(), rows.columns.size()) << rows.table;
        tables[rows.table].emplace_back(row.begin(), row.end());
      });
    }
  }
  return tables;
}

std::map<std::string, Table> all_of(const Shop& of) {
  return collect({user_rows(of, 1, of.users), product_rows(of, 1, of.products), order_rows(of, 1, of.orders)});
}

std::vector<std::int64_t> column(const Table& table, std::size_t index) {
  std::vector<std::int64_t> values;
  for (const auto& row : table) values.push_back(std::stoll(row.at(index)));
  return values;
}

std::vector<std::int64_t> one_to(std::int64_t last) {
  std::vector<std::int64_t> numbers;
  for (std::int64_t n = 1; n <= last; ++n) numbers.push_back(n);
  return numbers;
}

TEST(Shop, HasIdsWithoutGapsAndAnAuditRowForEachRow) {
  const auto tables = all_of(shop);
  EXPECT_EQ(column(tables.at("users"), 0), one_to(shop.users));
  EXPECT_EQ(column(tables.at("products"), 0), one_to(shop.products));
  EXPECT_EQ(column(tables.at("orders"), 0), one_to(shop.orders));
  EXPECT_EQ(column(tables.at("order_items"), 0), one_to(item_count(shop)));
  EXPECT_EQ(column(tables.at("audit_log"), 0), one_to(audit_count(shop)));

  for (const char* const table : {"users", "products", "orders", "order_items"}) {
    std::vector<std::int64_t> audited;
    for (const auto& row : tables.at("audit_log")) {
      if (row.at(1) == table) audited.push_back(std::stoll(row.at(3)));
    }
    EXPECT_EQ(audited, column(tables.at(table), 0)) << table;
  }
}

TEST(Shop, IsTheSameInPieces) {
  const auto whole = all_of(shop);
  const auto pieces = collect({user_rows(shop, 1, 7), user_rows(shop, 8, 30), product_rows(shop, 1, 20),
                               order_rows(shop, 1, 1), order_rows(shop, 2, 13), order_rows(shop, 14, 500)});
  EXPECT_EQ(pieces, whole);
}

TEST(Shop, DependsOnTheSeed) {
  Shop another = shop;
  another.seed = 2;
  EXPECT_EQ(all_of(another).at("order_items").size(), all_of(shop).at("order_items").size());
  for (const char* const table : {"users", "products", "orders", "order_items"}) {
    EXPECT_NE(all_of(another).at(table), all_of(shop).at(table)) << table;
  }
}

TEST(Shop, OrdersHaveOneToFiveDifferentProducts) {
  // A shop of few products has no more in an order than it has products.
  for (const std::int64_t products : {1, 2, 3, 5, 6, 20}) {
    const Shop small{.seed = 7, .users = 1, .products = products, .orders = 50};
    std::map<std::string, std::set<std::string>> of_order;
    std::set<std::size_t> sizes;
    const auto tables = all_of(small);
    for (const auto& item : tables.at("order_items")) {
      EXPECT_TRUE(of_order[item.at(1)].insert(item.at(2)).second) << products << ": twice in order " << item.at(1);
    }
    EXPECT_EQ(of_order.size(), 50U) << products;
    for (const auto& [order, bought] : of_order) sizes.insert(bought.size());
    EXPECT_EQ(*sizes.begin(), 1U);
    EXPECT_EQ(*sizes.rbegin(), static_cast<std::size_t>(std::min<std::int64_t>(5, products)));
  }
}

TEST(Shop, TotalsAreTheSumsOfTheItemsAtThePricesOfTheProducts) {
  const auto tables = all_of(shop);
  std::map<std::string, double> sums;
  for (const auto& item : tables.at("order_items")) {
    const auto& product = tables.at("products").at(std::stoul(item.at(2)) - 1);
    EXPECT_EQ(item.at(4), product.at(4));
    sums[item.at(1)] += std::stod(item.at(3)) * std::stod(item.at(4));
  }
  for (const auto& order : tables.at("orders")) EXPECT_NEAR(std::stod(order.at(3)), sums.at(order.at(0)), 1e-6);
}

TEST(Shop, HasASchemaForDatabasesOfAnyEncoding) {
  for (const std::string_view sql : {schema_sql, guards_sql}) {
    EXPECT_TRUE(std::ranges::all_of(sql, [](char c) { return static_cast<unsigned char>(c) < 0x80; }));
  }
}

TEST(Shop, OfNothingIsEmpty) {
  EXPECT_EQ(item_count({}), 0);
  EXPECT_EQ(audit_count({.seed = 1, .users = 3}), 3);
}

}  // namespace
}  // namespace pgrm::loadgen
