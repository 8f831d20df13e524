#include "loadgen/shop.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <string_view>

#include "loadgen/catalogue.h"
#include "loadgen/random.h"

namespace pgrm::loadgen {
namespace {

// What a random number is about: apart from each other, so that one more of one kind changes nothing in another.
enum class About : std::uint64_t { user, product, order, sizes };

Random random_of(const Shop& shop, About about, std::int64_t number) {
  return {static_cast<std::uint64_t>(shop.seed) * 8 + static_cast<std::uint64_t>(about),
          static_cast<std::uint64_t>(number)};
}

std::int64_t below(Random& random, std::int64_t bound) {
  return static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(bound)));
}

std::string money(std::int64_t cents) {
  const fmt::format_int digits(cents);  // three or more: nothing costs less than 1.00
  return std::string(digits.data(), digits.size()).insert(digits.size() - 2, ".");
}

// By hand: a seed of a million orders writes ten million times, and fmt would be half of what loadgen does for a row.
std::string time_text(std::chrono::sys_seconds time) {
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(time - day);
  std::string text = "2000-00-00 00:00:00+00";
  const auto put = [&text](std::size_t at, auto number) {
    text[at] = static_cast<char>('0' + number / 10);
    text[at + 1] = static_cast<char>('0' + number % 10);
  };
  put(2, static_cast<int>(date.year()) - 2000);
  put(5, static_cast<unsigned>(date.month()));
  put(8, static_cast<unsigned>(date.day()));
  put(11, clock.hours().count());
  put(14, clock.minutes().count());
  put(17, clock.seconds().count());
  return text;
}

constexpr std::chrono::sys_seconds opening = std::chrono::sys_days(std::chrono::January / 1 / 2024);
constexpr std::chrono::sys_seconds first_order = std::chrono::sys_days(std::chrono::January / 1 / 2025);

std::string some_time(Random& random, std::chrono::sys_seconds from, std::chrono::seconds within) {
  return time_text(from + std::chrono::seconds(below(random, within.count())));
}

// ---- What a row is

struct User {
  std::string name, joined;
  std::string_view city;
};

User user(const Shop& shop, std::int64_t id) {
  Random random = random_of(shop, About::user, id);
  std::string name = fmt::format("{} {}", random.one_of(first_names), random.one_of(last_names));
  const std::string_view city = random.one_of(cities);
  return {std::move(name), some_time(random, opening, std::chrono::days(365)), city};
}

/// Its first random number, because each item asks for it.
std::int64_t price_in_cents(Random& product) { return 100 + below(product, 49'900); }

constexpr std::int64_t max_items = 5;

/// Orders come in blocks in which each size from 1 to this occurs once: so it is known without a look at the orders
/// before one how many items they have, and with it the ids of its own.
std::int64_t block(const Shop& shop) { return std::min(max_items, shop.products); }

struct Sizes {
  std::int64_t before;  // items of all orders with lower ids
  std::int64_t items;
};

Sizes sizes(const Shop& shop, std::int64_t order) {
  const std::int64_t length = block(shop);
  const std::int64_t number = (order - 1) / length;
  const std::int64_t place = (order - 1) % length;
  Random random = random_of(shop, About::sizes, number);
  std::array<std::int64_t, max_items> shuffled{1, 2, 3, 4, 5};
  for (std::int64_t left = length; left > 1; --left) {
    std::swap(shuffled.at(static_cast<std::size_t>(left - 1)),
              shuffled.at(static_cast<std::size_t>(below(random, left))));
  }
  Sizes found{number * length * (length + 1) / 2, shuffled.at(static_cast<std::size_t>(place))};
  for (std::int64_t i = 0; i < place; ++i) found.before += shuffled.at(static_cast<std::size_t>(i));
  return found;
}

struct Item {
  std::int64_t id, product, quantity, unit_price;  // the price in cents
};

struct Order {
  std::int64_t id, user, items_before, total;  // the total in cents
  std::string_view status;
  std::string ordered;
  std::array<Item, max_items> items;
  std::size_t size;
};

Order order(const Shop& shop, std::int64_t id) {
  const auto [before, count] = sizes(shop, id);
  Random random = random_of(shop, About::order, id);
  Order made{.id = id,
             .user = 1 + below(random, shop.users),
             .items_before = before,
             .total = 0,
             .status = random.one_of(order_statuses),
             .ordered = some_time(random, first_order, std::chrono::days(180)),
             .items = {},
             .size = static_cast<std::size_t>(count)};
  // Its products differ, because they lie a step apart that is too short to come round to the first again.
  const std::int64_t first = below(random, shop.products);
  const std::int64_t step = 1 + below(random, std::max<std::int64_t>(1, (shop.products - 1) / max_items));
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t product = 1 + (first + i * step) % shop.products;
    Random of_product = random_of(shop, About::product, product);
    const Item item{before + i + 1, product, 1 + below(random, 4), price_in_cents(of_product)};
    made.total += item.quantity * item.unit_price;
    made.items.at(static_cast<std::size_t>(i)) = item;
  }
  return made;
}

// ---- How it is written

std::string_view text(const fmt::format_int& number) { return {number.data(), number.size()}; }

/// `put_row(put, number)` for each.
template <typename PutOne>
auto numbered(std::int64_t first, std::int64_t last, PutOne put_row) {
  return [=](const PutRow& put) {
    for (std::int64_t number = first; number <= last; ++number) put_row(put, number);
  };
}

const std::vector<std::string> audit_columns{"id", "table_name", "operation", "row_id", "changed_at"};

void put_audit(const PutRow& put, std::int64_t id, std::string_view table, std::int64_t row, std::string_view time) {
  put({text(fmt::format_int(id)), table, "INSERT", text(fmt::format_int(row)), time});
}

}  // namespace

std::int64_t item_count(const Shop& shop) { return shop.orders == 0 ? 0 : sizes(shop, shop.orders + 1).before; }

std::int64_t audit_count(const Shop& shop) { return shop.users + shop.products + shop.orders + item_count(shop); }

std::vector<TableRows> user_rows(const Shop& shop, std::int64_t first, std::int64_t last) {
  const auto put_user = [shop](const PutRow& put, std::int64_t id) {
    const User made = user(shop, id);
    put({text(fmt::format_int(id)), fmt::format("user{}", id), fmt::format("user{}@example.com", id), made.name,
         made.city, made.joined, made.joined});
  };
  const auto put_change = [shop](const PutRow& put, std::int64_t id) {
    put_audit(put, id, "users", id, user(shop, id).joined);
  };
  return {{"users",
           {"id", "username", "email", "full_name", "city", "created_at", "updated_at"},
           numbered(first, last, put_user)},
          {"audit_log", audit_columns, numbered(first, last, put_change)}};
}

std::vector<TableRows> product_rows(const Shop& shop, std::int64_t first, std::int64_t last) {
  const std::string opened = time_text(opening);
  const auto put_product = [=](const PutRow& put, std::int64_t id) {
    Random random = random_of(shop, About::product, id);
    const std::int64_t price = price_in_cents(random);
    const Good& good = random.one_of(goods);
    put({text(fmt::format_int(id)), fmt::format("P{}", id), fmt::format("{} {}", random.one_of(adjectives), good.name),
         good.category, money(price), text(fmt::format_int(below(random, 1001))), opened, opened});
  };
  const auto put_change = [=](const PutRow& put, std::int64_t id) {
    put_audit(put, shop.users + id, "products", id, opened);
  };
  return {{"products",
           {"id", "sku", "name", "category", "price", "stock", "created_at", "updated_at"},
           numbered(first, last, put_product)},
          {"audit_log", audit_columns, numbered(first, last, put_change)}};
}

std::vector<TableRows> order_rows(const Shop& shop, std::int64_t first, std::int64_t last) {
  // Made once for three tables, while the server takes the first.
  const auto orders = std::make_shared<std::vector<Order>>();
  const auto put_items = [=](const PutRow& put, std::int64_t id) {
    const Order& made = orders->emplace_back(order(shop, id));
    for (std::size_t i = 0; i < made.size; ++i) {
      const Item& item = made.items.at(i);
      put({text(fmt::format_int(item.id)), text(fmt::format_int(made.id)), text(fmt::format_int(item.product)),
           text(fmt::format_int(item.quantity)), money(item.unit_price), made.ordered, made.ordered});
    }
  };
  const auto each = [orders](auto put_order) {
    return [=](const PutRow& put) {
      for (const Order& made : *orders) put_order(put, made);
    };
  };
  const auto put_order = [](const PutRow& put, const Order& made) {
    put({text(fmt::format_int(made.id)), text(fmt::format_int(made.user)), made.status, money(made.total), made.ordered,
         made.ordered});
  };
  const auto put_changes = [shop](const PutRow& put, const Order& made) {
    std::int64_t audit = shop.users + shop.products + made.items_before + made.id;
    for (std::size_t i = 0; i < made.size; ++i) {
      put_audit(put, audit++, "order_items", made.items.at(i).id, made.ordered);
    }
    put_audit(put, audit, "orders", made.id, made.ordered);
  };
  return {{"order_items",
           {"id", "order_id", "product_id", "quantity", "unit_price", "created_at", "updated_at"},
           numbered(first, last, put_items)},
          {"orders", {"id", "user_id", "status", "total_amount", "created_at", "updated_at"}, each(put_order)},
          {"audit_log", audit_columns, each(put_changes)}};
}

}  // namespace pgrm::loadgen
