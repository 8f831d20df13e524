#include "loadgen/reads.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>

namespace pgrm::loadgen {
namespace {

constexpr auto application_name = "pgrm-loadgen-reads";
constexpr auto connect_deadline = std::chrono::seconds(2);
constexpr auto read_deadline = std::chrono::seconds(30);  // a cold cache is slow, and that is what is to be seen
constexpr double popularities = 1'000'000;

}  // namespace

const std::array<Read, 3> read_table{
    Read{ReadKind::lookup, 4, {"read_user", R"sql(
SELECT username, full_name, city FROM users WHERE id >= ($1::float8 * (SELECT max(id) FROM users))::bigint
 ORDER BY id LIMIT 1)sql"}},
    Read{ReadKind::lookup, 4, {"read_product", R"sql(
SELECT sku, name, price, stock FROM products WHERE id >= ($1::float8 * (SELECT max(id) FROM products))::bigint
 ORDER BY id LIMIT 1)sql"}},
    Read{ReadKind::join, 2, {"read_order", R"sql(
SELECT o.id, o.status, o.total_amount, u.full_name, p.name, i.quantity, i.subtotal
  FROM (SELECT * FROM orders WHERE id >= ($1::float8 * (SELECT max(id) FROM orders))::bigint ORDER BY id LIMIT 1) AS o
       JOIN users AS u ON u.id = o.user_id JOIN order_items AS i ON i.order_id = o.id
       JOIN products AS p ON p.id = i.product_id)sql"}},
};

std::string popular_position(Random& random) {
  // The logarithm of a Zipf distribution's rank (exponent 1) is uniform.
  const auto rank = static_cast<std::uint64_t>(std::pow(popularities, random.unit()));
  return fmt::format("0.{:09}", Random(1, rank).below(1'000'000'000));
}

std::uint64_t ReadTotals::count() const { return all_latencies().count(); }

Histogram ReadTotals::all_latencies() const { return sum_of(latency); }

ReadTotals ReadTotals::since(const ReadTotals& earlier) const {
  ReadTotals result = *this;
  for (std::size_t i = 0; i < latency.size(); ++i) result.latency[i] = latency[i].since(earlier.latency[i]);
  result.failed -= earlier.failed;
  return result;
}

void ReadStats::answered(ReadKind kind, Mono due, Mono now) {
  const std::lock_guard lock(mutex_);
  totals_.latency.at(static_cast<std::size_t>(kind)).record(now - due);
  if (window_ && due >= window_->began) window_->totals.latency.at(static_cast<std::size_t>(kind)).record(now - due);
}

void ReadStats::failed() {
  const std::lock_guard lock(mutex_);
  ++totals_.failed;
  if (window_) ++window_->totals.failed;
}

void ReadStats::begin_window(Mono now) {
  const std::lock_guard lock(mutex_);
  window_ = Window{now, {}};
}

std::optional<ReadStats::Window> ReadStats::window() const {
  const std::lock_guard lock(mutex_);
  return window_;
}

ReadTotals ReadStats::totals() const {
  const std::lock_guard lock(mutex_);
  return totals_;
}

Reader::Reader(SharedReads& shared, const Pair& pair, std::uint64_t id)
    : shared_(shared), session_(pair, application_name), backoff_(Random(shared.seed, id)) {}

void Reader::run(const std::stop_token& stop) {
  int shares = 0;
  for (const Read& read : read_table) shares += read.share;
  while (const auto turn = shared_.pacer.next()) {
    Random random(shared_.seed + 1, turn->number);
    std::size_t chosen = 0;
    for (int left = random.between(0, shares - 1); left >= read_table.at(chosen).share; ++chosen)
      left -= read_table.at(chosen).share;
    const Read& read = read_table.at(chosen);
    const Params params{popular_position(random)};
    bool goes_on = true;
    while (goes_on && !answered(read, params)) {
      shared_.clock.sleep_for(backoff_.next(), stop);
      goes_on = shared_.pacer.again();
    }
    if (!goes_on) break;
    backoff_.reset();
    shared_.stats.answered(read.kind, turn->due, shared_.clock.now());
    shared_.pacer.done();
  }
  session_->close();
}

bool Reader::answered(const Read& read, const Params& params) {
  try {
    if (!session_->is_open()) session_->open(connect_deadline);
    session_->execute(read.statement, params, read_deadline);
    return true;
  } catch (const Error& error) {
    shared_.stats.failed();
    shared_.complaints.log(fmt::format("read {}", error.name()),
                           fmt::format("{}: {}", read.statement.name, error.what()));
    session_.turn();
    return false;
  }
}

}  // namespace pgrm::loadgen
