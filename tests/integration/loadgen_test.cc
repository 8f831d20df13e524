// loadgen on a real pair: the schema's promises, the seed, runs that are disturbed, and every finding of verify.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <csignal>
#include <deque>
#include <filesystem>
#include <future>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stop_token>
#include <string>
#include <thread>

#include "core/base/error.h"
#include "core/base/wait.h"
#include "core/http/client.h"
#include "core/pg/session.h"
#include "loadgen/client.h"
#include "loadgen/database.h"
#include "loadgen/ledger.h"
#include "loadgen/loss_check.h"
#include "loadgen/run.h"
#include "loadgen/seed.h"
#include "loadgen/verify.h"
#include "tests/fakes/raw_http.h"
#include "tests/integration/lab_pair.h"

namespace pgrm::loadgen {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr auto soon = std::chrono::seconds(20);
constexpr auto tick = std::chrono::milliseconds(5);
constexpr auto database_name = "loadgen_test";

Pair pair() { return LabPair::get().as("pgrm_app", database_name); }

std::string seed_small(const SeedOptions& options = {.users = 30, .products = 20, .orders = 40}) {
  std::ostringstream out;
  EXPECT_TRUE(seed(writable_one_of(pair()), options, system_clock(), {}, out, false));
  return out.str();
}

/// A database of its own, seeded with a little.
class LoadgenOnAPair : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    superuser().script(std::string("DROP DATABASE IF EXISTS ") + database_name, soon);
    superuser().script(std::string("CREATE DATABASE ") + database_name + " OWNER pgrm_app", soon);
    // By its OID: an older one of the same name may still be there.
    Session standby(LabPair::get().as("postgres", "postgres").replica, "loadgen_test");
    standby.open(soon);
    const std::string oid = std::string("SELECT oid FROM pg_database WHERE datname = '") + database_name + "'";
    const auto wanted = superuser().script(oid, soon).one().text("oid");
    const WaitEnd end = wait_until(system_clock(), soon, tick, {}, [&] {
      const Rows there = standby.script(oid, soon);
      return there.size() == 1 && there.one().text("oid") == wanted;
    });
    ASSERT_EQ(end, WaitEnd::reached);
  }

  void SetUp() override {
    // Each test begins with a database that no ledger is about yet.
    seed_small({.users = 30, .products = 20, .orders = 40, .reset = true});
    session_.open(soon);
    std::string name = testing::TempDir() + "loadgen.XXXXXX";
    directory_ = mkdtemp(name.data());
    ledger_ = directory_ / "ledger";
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  static Session superuser() {
    Session session(LabPair::get().as("postgres", "postgres").primary, "loadgen_test");
    session.open(soon);
    return session;
  }

  /// In the application's database.
  static Session superuser_here() {
    Session session(LabPair::get().as("postgres", database_name).primary, "loadgen_test");
    session.open(soon);
    return session;
  }
  /// Has a seed begin, and interrupts it before its first row. Returns what goes on with it.
  static SeedOptions interrupted_seed() {
    std::stop_source stop;
    stop.request_stop();
    SeedOptions options{.users = 10, .products = 10, .orders = 10, .reset = true};
    std::ostringstream ignored;
    EXPECT_FALSE(seed(writable_one_of(pair()), options, system_clock(), stop.get_token(), ignored, false));
    options.reset = false;
    return options;
  }
  /// For a lock of somebody's.
  static WaitEnd until_the_seed_waits() {
    Session admin = superuser();
    return wait_until(system_clock(), soon, tick, {}, [&admin] {
      return admin
                 .script(
                     "SELECT FROM pg_stat_activity WHERE application_name = 'pgrm-loadgen-seed' AND "
                     "wait_event_type = 'Lock'",
                     soon)
                 .affected() == 1;
    });
  }

  std::int64_t number(const std::string& sql) { return std::stoll(session_.script(sql, soon).one().text("n").value()); }
  std::string text(const std::string& sql) { return session_.script(sql, soon).one().text("n").value(); }

  /// What verify says, and whether it is content.
  std::pair<bool, std::string> verified(std::vector<Conninfo> against = {}) {
    std::ostringstream out;
    const bool holds = verify({.ledger = ledger_, .pair = pair(), .against = std::move(against)}, {}, out);
    return {holds, out.str()};
  }

  Session session_{pair().primary, "loadgen_test"};
  std::filesystem::path directory_;
  std::string ledger_;
};

/// `loadgen run` in a thread, as its callers see it: over HTTP.
class Running {
 public:
  explicit Running(RunOptions options) : options_(std::move(options)) {
    options_.listen = "127.0.0.1:0";
    options_.started = [this](int port) { port_.set_value(port); };
    options_.pair = pair();
    result_ = std::async(std::launch::async, [this] { run(options_, system_clock(), stop_.get_token(), out_); });
    std::future<int> started = port_.get_future();
    while (started.wait_for(tick) != std::future_status::ready) {
      if (result_.wait_for(tick) == std::future_status::ready) result_.get();  // throws why it could not begin
    }
    listening_ = started.get();
    client_ = http::make_client("http://127.0.0.1:" + std::to_string(listening_));
  }
  ~Running() { stop_.request_stop(); }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

  json state() const { return json::parse(http::get_ok(*client_, "/api/v1/state", soon)); }
  json totals() const { return state().at("totals"); }
  std::int64_t count(const char* what) const { return totals().at(what).get<std::int64_t>(); }
  http::Reply order(const char* path) const { return client_->post(path, soon); }

  template <typename Condition>
  void wait_for(const char* what, Condition&& condition) const {
    ASSERT_EQ(wait_until(system_clock(), soon, tick, {}, condition), WaitEnd::reached) << what << ": " << state();
  }
  void wait_until_acknowledged(std::int64_t wanted) const {
    wait_for("acknowledged", [&] { return count("acknowledged") >= wanted; });
  }
  void wait_for_more(std::int64_t more) const { wait_until_acknowledged(count("acknowledged") + more); }

  /// Returns when every operation that was begun has ended by itself, also those that are between two attempts.
  void settle() const {
    ASSERT_TRUE(http::raw_post(listening_, "/api/v1/rate", R"({"ops_per_second": 0.001})").starts_with("HTTP/1.1 200"));
    wait_for("settled", [&] { return state().at("in_flight") == 0; });
  }

  /// Ends it; returns the JSON of its last line. Throws what run() threw.
  json finish() {
    client_.reset();  // its connection would hold up the end
    stop_.request_stop();
    return wait();
  }
  json wait() {
    result_.get();
    std::string last;
    std::istringstream lines(out_.str());
    for (std::string line; std::getline(lines, line);) last = line;
    return json::parse(last);
  }

 private:
  RunOptions options_;
  std::ostringstream out_;
  std::stop_source stop_;
  std::promise<int> port_;
  int listening_ = 0;
  std::unique_ptr<http::Client> client_;
  std::future<void> result_;
};

/// While it lives, the primary takes no writes, as behind the weakest of fences.
class ReadOnlyPrimary {
 public:
  ReadOnlyPrimary() { set("on"); }
  ~ReadOnlyPrimary() { set("off"); }
  ReadOnlyPrimary(const ReadOnlyPrimary&) = delete;
  ReadOnlyPrimary& operator=(const ReadOnlyPrimary&) = delete;

 private:
  /// Returns when new sessions have it.
  static void set(const std::string& value) {
    const Conninfo server = LabPair::get().as("postgres", "postgres").primary;
    Session admin(server, "loadgen_test");
    admin.open(soon);
    admin.script("ALTER SYSTEM SET default_transaction_read_only = " + value, soon);
    admin.script("SELECT pg_reload_conf()", soon);
    const WaitEnd end = wait_until(system_clock(), soon, tick, {}, [&] {
      Session session(server, "loadgen_test");
      session.open(soon);
      return session.script("SHOW default_transaction_read_only", soon).one().text("default_transaction_read_only") ==
             value;
    });
    EXPECT_EQ(end, WaitEnd::reached);
  }
};

// ---- The schema's promises

TEST_F(LoadgenOnAPair, ATotalIsTheSumOfItsItemsWhateverIsDone) {
  const auto total = [this] { return text("SELECT total_amount AS n FROM orders WHERE id = 1"); };
  const auto sum = [this] {
    return text("SELECT COALESCE(sum(subtotal), 0.00) AS n FROM order_items WHERE order_id = 1");
  };
  session_.script("DELETE FROM order_items WHERE order_id = 1", soon);
  EXPECT_EQ(total(), "0.00");
  session_.script(
      "INSERT INTO order_items (order_id, product_id, quantity, unit_price) VALUES (1, 1, 2, 1.25), (1, 2, 1, 3)",
      soon);
  EXPECT_EQ(total(), "5.50");
  session_.script("UPDATE order_items SET quantity = 4 WHERE order_id = 1 AND product_id = 1", soon);
  EXPECT_EQ(total(), "8.00");
  session_.script("UPDATE orders SET total_amount = 1000000 WHERE id = 1", soon);
  EXPECT_EQ(total(), "8.00") << "nobody can say otherwise";
  session_.script("DELETE FROM order_items WHERE order_id = 2", soon);
  session_.script("UPDATE order_items SET order_id = 2 WHERE order_id = 1 AND product_id = 2", soon);
  EXPECT_EQ(total(), "5.00");
  EXPECT_EQ(text("SELECT total_amount AS n FROM orders WHERE id = 2"), "3.00");
  EXPECT_EQ(total(), sum());
  EXPECT_THROW(session_.script("UPDATE order_items SET subtotal = 1 WHERE order_id = 1", soon), SqlError);
}

TEST_F(LoadgenOnAPair, ATotalIsRightWhenManyChangeOneOrder) {
  constexpr int clients = 4;
  {
    std::deque<std::jthread> threads;
    for (int client = 0; client < clients; ++client) {
      threads.emplace_back([client] {
        Session session(pair().primary, "loadgen_test");
        session.open(soon);
        const std::string product = std::to_string(15 + client);
        session.script("DELETE FROM order_items WHERE order_id = 3 AND product_id = " + product, soon);
        for (int round = 0; round < 25; ++round) {
          session.script(
              "INSERT INTO order_items (order_id, product_id, quantity, unit_price) VALUES (3, " + product + ", 1, 2)",
              soon);
          if (round == 24) break;
          session.script("DELETE FROM order_items WHERE order_id = 3 AND product_id = " + product, soon);
        }
      });
    }
  }
  EXPECT_EQ(number("SELECT count(*) AS n FROM order_items WHERE order_id = 3 AND unit_price = 2"), clients);
  EXPECT_EQ(text("SELECT total_amount AS n FROM orders WHERE id = 3"),
            text("SELECT sum(subtotal) AS n FROM order_items WHERE order_id = 3"));
}

TEST_F(LoadgenOnAPair, EveryChangedRowHasItsAuditRow) {
  const auto audited = [this](const std::string& table, const std::string& operation) {
    return number("SELECT count(*) AS n FROM audit_log WHERE table_name = '" + table + "' AND operation = '" +
                  operation + "' AND changed_at > now() - interval '1 minute'");
  };
  EXPECT_EQ(number("SELECT count(*) AS n FROM audit_log"),
            number("SELECT (SELECT count(*) FROM users) + "
                   "(SELECT count(*) FROM products) + (SELECT count(*) FROM orders) + "
                   "(SELECT count(*) FROM order_items) AS n"))
      << "the seed too";
  session_.script("UPDATE users SET city = 'Quito'", soon);
  EXPECT_EQ(audited("users", "UPDATE"), 30);
  session_.script(
      "INSERT INTO products (sku, name, category, price, stock) VALUES ('x', 'x', 'toys', 1, 1), ('y', 'y', 'toys', 1, "
      "1)",
      soon);
  EXPECT_EQ(audited("products", "INSERT"), 2);
  session_.script("DELETE FROM products WHERE sku IN ('x', 'y')", soon);
  EXPECT_EQ(audited("products", "DELETE"), 2);
  EXPECT_EQ(number("SELECT count(*) AS n FROM users u JOIN audit_log a ON a.table_name = 'users' AND a.row_id = u.id "
                   "AND a.changed_at = u.updated_at WHERE u.updated_at > now() - interval '1 minute'"),
            30)
      << "updated_at moved, and is the time in audit_log";
}

TEST_F(LoadgenOnAPair, StockIsNeverNegative) {
  EXPECT_THROW(session_.script("UPDATE products SET stock = -1 WHERE id = 1", soon), SqlError);
}

// ---- Operations

TEST_F(LoadgenOnAPair, EveryOperationHasItsEffectAndItsProof) {
  const auto audited = [this] { return number("SELECT count(*) AS n FROM audit_log"); };
  std::uint64_t proof = 0;
  for (const Operation& operation : operations) {
    Random random(1, ++proof);
    Params params{"77", std::to_string(proof)};
    operation.bind(random, params);
    const std::int64_t before = audited();
    EXPECT_GE(session_.execute(operation.statement, params, soon).affected(), 1) << operation.name;
    EXPECT_EQ(
        number("SELECT count(*) AS n FROM loadgen_operations WHERE run = 77 AND operation = " + std::to_string(proof)),
        1)
        << operation.name;
    const std::int64_t changed = audited() - before;
    if (std::string_view(operation.table) == "audit_log") {
      EXPECT_EQ(changed, -50);
    } else if (std::string_view(operation.name) == "insert_order") {
      const std::int64_t items =
          number("SELECT count(*) AS n FROM order_items WHERE order_id = (SELECT max(id) FROM orders)");
      EXPECT_GE(items, 1);
      EXPECT_EQ(changed, 1 + items) << "the order is written once, with its total";
    } else {
      EXPECT_EQ(changed, 1) << operation.name;
    }
    // The same once more is refused as a whole: an operation cannot happen twice.
    const std::int64_t after = audited();
    EXPECT_THROW(session_.execute(operation.statement, params, soon), SqlError) << operation.name;
    EXPECT_EQ(audited(), after) << operation.name;
  }
}

TEST_F(LoadgenOnAPair, YoungAuditRowsAreNotPurged) {
  session_.script("DELETE FROM audit_log; UPDATE users SET city = 'Quito'", soon);
  Params params{"77", "1"};
  for (const Operation& operation : operations) {
    if (std::string_view(operation.table) == "audit_log") session_.execute(operation.statement, params, soon);
  }
  EXPECT_EQ(number("SELECT count(*) AS n FROM audit_log"), 30);
}

TEST_F(LoadgenOnAPair, WhatTheServerRollsBackIsRecognised) {
  for (const auto& [sqlstate, next] : {std::pair{"40001", Next::retry_here},
                                       {"40P01", Next::retry_here},
                                       {"40003", Next::doubt},
                                       {"25006", Next::retry_elsewhere},
                                       {"23505", Next::give_up},
                                       {"40000", Next::give_up}}) {
    try {
      session_.script(std::string("DO $$ BEGIN RAISE EXCEPTION SQLSTATE '") + sqlstate + "'; END $$", soon);
      ADD_FAILURE() << sqlstate;
    } catch (const Error& error) {
      const auto* const refusal = dynamic_cast<const SqlError*>(&error);
      ASSERT_NE(refusal, nullptr) << error.what();
      EXPECT_EQ(refusal->sqlstate(), sqlstate);
      EXPECT_EQ(judge(error), next) << sqlstate;
    }
  }
}

// ---- Seed

TEST_F(LoadgenOnAPair, TheSeedHasExactlyTheCountsAskedFor) {
  EXPECT_EQ(number("SELECT count(*) AS n FROM users"), 30);
  EXPECT_EQ(number("SELECT count(*) AS n FROM products"), 20);
  EXPECT_EQ(number("SELECT count(*) AS n FROM orders"), 40);
  EXPECT_EQ(number("SELECT count(*) AS n FROM (SELECT count(*) AS c FROM order_items GROUP BY order_id) AS x "
                   "WHERE c BETWEEN 1 AND 5"),
            40);
  EXPECT_THAT(seed_small(), HasSubstr("already"));
  EXPECT_EQ(number("SELECT count(*) AS n FROM users"), 30) << "the second time changes nothing";
  seed_small({.users = 500, .products = 200, .orders = 1000, .reset = true});
  EXPECT_EQ(number("SELECT count(DISTINCT category) AS n FROM products"), 6);
  EXPECT_EQ(number("SELECT count(DISTINCT c) AS n FROM (SELECT count(*) AS c FROM order_items GROUP BY order_id) AS x"),
            5);
}

TEST_F(LoadgenOnAPair, ASeededTableIsLikeAnyOther) {
  EXPECT_EQ(number("SELECT count(*) AS n FROM pg_class WHERE reloptions::text LIKE '%autovacuum%'"), 0);
  // The next ids follow on those of the seed.
  EXPECT_EQ(
      number("INSERT INTO users (username, email, full_name, city) VALUES ('u', 'e', 'f', 'c') RETURNING id AS n"), 31);
  EXPECT_EQ(number("SELECT max(row_id) AS n FROM audit_log WHERE table_name = 'users'"), 31);
  EXPECT_EQ(number("SELECT count(*) - max(id) AS n FROM audit_log"), 0);
  const std::int64_t items = number("SELECT count(*) AS n FROM order_items");
  EXPECT_EQ(number("INSERT INTO orders (user_id, status) VALUES (1, 'paid') RETURNING id AS n"), 41);
  EXPECT_EQ(number("INSERT INTO order_items (order_id, product_id, quantity, unit_price) VALUES (41, 1, 1, 1) "
                   "RETURNING id AS n"),
            items + 1);
}

TEST_F(LoadgenOnAPair, WhatLoadgenHasNotMadeIsLeftAlone) {
  superuser().script("DROP DATABASE IF EXISTS loadgen_test_shop", soon);
  superuser().script("CREATE DATABASE loadgen_test_shop OWNER pgrm_app", soon);
  const Conninfo shop = pair().primary.with("dbname", "loadgen_test_shop");
  {
    Session owner(shop, "loadgen_test");
    owner.open(soon);
    owner.script(
        "CREATE TABLE users (name text); CREATE TABLE orders (); "
        "CREATE FUNCTION write_audit_log() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        soon);
    for (const bool reset : {false, true}) {
      std::ostringstream out;
      try {
        seed(shop, {.users = 1, .products = 1, .orders = 1, .reset = reset}, system_clock(), {}, out, false);
        ADD_FAILURE() << reset;
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::configuration);
        EXPECT_THAT(error.what(), HasSubstr("users, orders, write_audit_log()"));
      }
    }
    EXPECT_NO_THROW(owner.script("SELECT name, write_audit_log() FROM users, orders", soon));
  }
  superuser().script("DROP DATABASE loadgen_test_shop", soon);
}

TEST_F(LoadgenOnAPair, TheSameSeedMakesTheSameRows) {
  const auto fingerprint = [this] {
    return text(
        "SELECT md5(string_agg(r, '|' ORDER BY r)) AS n FROM (SELECT u::text AS r FROM users u UNION ALL "
        "SELECT p::text FROM products p UNION ALL SELECT o::text FROM orders o UNION ALL "
        "SELECT i::text FROM order_items i) AS x");
  };
  const std::string first = fingerprint();
  seed_small({.users = 30, .products = 20, .orders = 40, .reset = true});
  EXPECT_EQ(fingerprint(), first);
  seed_small({.users = 30, .products = 20, .orders = 40, .seed = 2, .reset = true});
  EXPECT_NE(fingerprint(), first);
}

TEST_F(LoadgenOnAPair, AnInterruptedSeedGoesOnWhereItStopped) {
  std::stop_source stopped;
  stopped.request_stop();
  const SeedOptions options{.users = 10, .products = 10, .orders = 10, .reset = true};
  std::ostringstream out;
  EXPECT_FALSE(seed(writable_one_of(pair()), options, system_clock(), stopped.get_token(), out, false));
  EXPECT_THAT(out.str(), HasSubstr("interrupted"));
  try {
    seeded_database(session_);
    ADD_FAILURE() << "it is not complete";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::configuration);
    EXPECT_THAT(error.what(), HasSubstr("in part"));
  }
  seed_small({.users = 10, .products = 10, .orders = 10});
  EXPECT_EQ(number("SELECT count(*) AS n FROM orders"), 10);
}

TEST_F(LoadgenOnAPair, ASeedIsInterruptedAlsoWhileItMakesKeys) {
  const SeedOptions options = interrupted_seed();
  // Who reads the table does not hold up the rows, but does hold up the keys.
  session_.script("BEGIN; SELECT FROM users", soon);
  std::stop_source later;
  std::ostringstream out;
  auto seeded = std::async(std::launch::async, [&] {
    return seed(writable_one_of(pair()), options, system_clock(), later.get_token(), out, false);
  });
  EXPECT_EQ(until_the_seed_waits(), WaitEnd::reached);
  later.request_stop();
  EXPECT_FALSE(seeded.get());
  EXPECT_THAT(out.str(), HasSubstr("interrupted"));
  session_.script("COMMIT", soon);
  EXPECT_FALSE(find_database(session_)->guarded);
  seed_small(options);
  EXPECT_TRUE(find_database(session_)->complete());
}

TEST_F(LoadgenOnAPair, ASeedIsInterruptedAlsoWhileItsRowsWaitForALock) {
  const SeedOptions options = interrupted_seed();
  session_.script("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE", soon);
  std::stop_source later;
  std::ostringstream out;
  auto seeded = std::async(std::launch::async, [&] {
    return seed(writable_one_of(pair()), options, system_clock(), later.get_token(), out, false);
  });
  EXPECT_EQ(until_the_seed_waits(), WaitEnd::reached);
  later.request_stop();
  EXPECT_FALSE(seeded.get());
  session_.script("COMMIT", soon);
  EXPECT_EQ(find_database(session_)->orders_seeded, 0);
  seed_small(options);
  EXPECT_EQ(number("SELECT count(*) AS n FROM order_items"), 30);
}

TEST_F(LoadgenOnAPair, ASeedThatIsInterruptedBeforeItsTurnTouchesNothing) {
  session_.script("SELECT pg_advisory_lock(hashtext('loadgen seed'))", soon);
  std::stop_source stop;
  std::ostringstream out;
  auto seeded = std::async(std::launch::async, [&] {
    return seed(writable_one_of(pair()), {.users = 30, .products = 20, .orders = 40, .reset = true}, system_clock(),
                stop.get_token(), out, false);
  });
  Session admin = superuser();
  const WaitEnd waits = wait_until(system_clock(), soon, tick, {}, [&admin] {
    return admin.script("SELECT FROM pg_stat_activity WHERE application_name = 'pgrm-loadgen-seed'", soon).affected() ==
           1;
  });
  stop.request_stop();
  EXPECT_FALSE(seeded.get());
  EXPECT_EQ(waits, WaitEnd::reached);
  session_.script("SELECT pg_advisory_unlock(hashtext('loadgen seed'))", soon);
  EXPECT_EQ(number("SELECT count(*) AS n FROM users"), 30);
}

TEST_F(LoadgenOnAPair, ASeedWithoutStatisticsIsNotComplete) {
  session_.script("UPDATE loadgen_database SET vacuumed = false", soon);
  superuser_here().script("DELETE FROM pg_statistic WHERE starelid = 'users'::regclass", soon);
  EXPECT_THAT(seed_small(), Not(HasSubstr("seeded already")));
  EXPECT_GT(number("SELECT count(*) AS n FROM pg_stats WHERE tablename = 'users'"), 0);
  EXPECT_THAT(seed_small(), HasSubstr("seeded already"));
}

TEST_F(LoadgenOnAPair, HalfASeedOfAnotherVersionIsNotGoneOnWith) {
  session_.script("UPDATE loadgen_database SET version = version - 1, guarded = false", soon);
  try {
    seed_small();
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::configuration);
    EXPECT_THAT(error.what(), HasSubstr("another version of loadgen"));
  }
  // One that is whole is as good as ever, also without the columns that came later.
  session_.script(
      "UPDATE loadgen_database SET guarded = true; "
      "ALTER TABLE loadgen_database DROP COLUMN version, DROP COLUMN vacuumed",
      soon);
  EXPECT_THAT(seed_small(), HasSubstr("seeded already"));
}

TEST_F(LoadgenOnAPair, AnotherSeedIsRefused) {
  try {
    seed_small({.users = 31, .products = 20, .orders = 40});
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::configuration);
    EXPECT_THAT(error.what(), AllOf(HasSubstr("30 users"), HasSubstr("31 users")));
  }
  EXPECT_THROW(seed_small({.users = 0, .products = 1, .orders = 1, .reset = true}), Error);
}

// ---- Runs

TEST_F(LoadgenOnAPair, ARunKeepsItsRateAndProvesItself) {
  constexpr double rate = 200;
  Running load({.ops_per_second = rate, .connections = 4, .ledger = ledger_});
  load.wait_until_acknowledged(400);
  load.settle();
  const json result = load.finish();
  const auto acknowledged = result.at("totals").at("acknowledged").get<double>();
  EXPECT_LE(acknowledged, result.at("totals").at("seconds").get<double>() * rate + 1 + 1) << "never ahead of schedule";
  EXPECT_EQ(result.at("totals").at("failed"), 0);
  EXPECT_EQ(result.at("totals").at("in_doubt"), 0);
  const auto [holds, report] = verified();
  EXPECT_TRUE(holds) << report;
  EXPECT_THAT(report, AllOf(HasSubstr("missing 0"), HasSubstr("proven")));
  EXPECT_EQ(number("SELECT count(*) AS n FROM loadgen_operations"), acknowledged);
}

TEST_F(LoadgenOnAPair, ARunEndsAfterItsDuration) {
  Running load({.connections = 1,
                .report_interval = std::chrono::milliseconds(100),
                .duration = std::chrono::milliseconds(250)});
  EXPECT_GE(load.wait().at("totals").at("seconds").get<double>(), 0.25);
}

TEST_F(LoadgenOnAPair, ManyClientsOnAFewRowsNeitherDeadlockNorBreakAnything) {
  seed_small({.users = 3, .products = 2, .orders = 3, .reset = true});
  Running load({.ops_per_second = 0, .connections = 16, .ledger = ledger_});
  load.wait_until_acknowledged(5000);
  const json result = load.finish();
  const json& totals = result.at("totals");
  EXPECT_EQ(result.at("by_connection").size(), 16U);
  EXPECT_EQ(totals.at("refusals_by_sqlstate_class"), json::object()) << "no deadlock, nothing else";
  const auto [holds, report] = verified();
  EXPECT_TRUE(holds) << report;
}

TEST_F(LoadgenOnAPair, APauseIsExact) {
  Running load({.ops_per_second = 2000, .connections = 8, .ledger = ledger_});
  load.wait_until_acknowledged(300);
  const auto there = [this] { return number("SELECT count(*) AS n FROM loadgen_operations"); };
  for (int round = 0; round < 5; ++round) {
    ASSERT_EQ(load.order("/api/v1/pause").status, 200);
    const json state = load.state();
    EXPECT_TRUE(state.at("paused").get<bool>());
    EXPECT_EQ(state.at("in_flight"), 0);
    const std::int64_t count = there();
    EXPECT_EQ(count, state.at("totals").at("acknowledged").get<std::int64_t>())
        << "acknowledged is recorded and counted";
    EXPECT_EQ(number("SELECT count(*) AS n FROM pg_stat_activity WHERE application_name = 'pgrm-loadgen' AND "
                     "state <> 'idle'"),
              0);
    EXPECT_EQ(there(), count);
    ASSERT_EQ(load.order("/api/v1/resume").status, 200);
    load.wait_for_more(100);
  }
  load.finish();
}

/// What a fence does to sessions.
void end_sessions(Session& superuser) {
  superuser.script("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgrm-loadgen'",
                   soon);
  const WaitEnd end = wait_until(system_clock(), soon, tick, {}, [&] {
    return superuser.script("SELECT count(*) AS n FROM pg_stat_activity WHERE application_name = 'pgrm-loadgen'", soon)
               .one()
               .integer("n") == 0;
  });
  ASSERT_EQ(end, WaitEnd::reached);
}

TEST_F(LoadgenOnAPair, SessionsEndedInAPauseLeaveNoDoubt) {
  Session admin = superuser();
  Running load({.ops_per_second = 1000, .connections = 8, .ledger = ledger_});
  load.wait_until_acknowledged(300);
  for (int round = 0; round < 3; ++round) {
    ASSERT_EQ(load.order("/api/v1/pause").status, 200);
    end_sessions(admin);
    ASSERT_EQ(load.order("/api/v1/resume").status, 200);
    load.wait_for_more(200);
  }
  load.settle();
  const json totals = load.finish().at("totals");
  EXPECT_EQ(totals.at("failed"), 0);
  EXPECT_EQ(totals.at("in_doubt"), 0);
  EXPECT_GT(totals.at("connections_opened").get<int>(), 8);
  EXPECT_TRUE(verified().first);
}

TEST_F(LoadgenOnAPair, SessionsEndedWhileTheyWriteLoseNothing) {
  Session admin = superuser();
  Running load({.ops_per_second = 0, .connections = 8, .ledger = ledger_});
  load.wait_until_acknowledged(300);
  // At the least ten times, and until it has hit somebody between a statement and its answer.
  int rounds = 0;
  load.wait_for("in doubt", [&] {
    admin.script("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgrm-loadgen'",
                 soon);
    load.wait_for_more(100);
    return ++rounds >= 10 && load.count("in_doubt") > 0;
  });
  load.settle();
  const json totals = load.finish().at("totals");
  EXPECT_EQ(totals.at("failed"), 0) << "a lost session is in doubt, or was not used";
  const auto [holds, report] = verified();
  EXPECT_TRUE(holds) << report;
}

bool finds_no_server(const Running& load) { return load.totals().at("refusals_by_sqlstate_class").contains("08"); }

TEST_F(LoadgenOnAPair, AServerThatTurnsReadOnlyIsNoticedAndNothingFails) {
  Running load({.ops_per_second = 500, .connections = 4, .ledger = ledger_});
  load.wait_until_acknowledged(100);
  {
    const ReadOnlyPrimary fence;
    load.wait_for("no server takes writes", [&] { return finds_no_server(load); });
  }
  load.wait_for_more(200);
  load.settle();
  const json result = load.finish();
  EXPECT_EQ(result.at("totals").at("failed"), 0) << "a refused write is tried again where writes are taken";
  EXPECT_EQ(result.at("totals").at("in_doubt"), 0);
  EXPECT_TRUE(result.at("totals").at("refusals_by_sqlstate_class").contains("25"));
  EXPECT_GT(result.at("longest_write_gap_seconds").get<double>(), 0);
  const auto [holds, report] = verified();
  EXPECT_TRUE(holds) << report;
}

TEST_F(LoadgenOnAPair, WhatWasNeverSentFailsAndIsNotThere) {
  {
    Running load({.ops_per_second = 500, .connections = 4, .ledger = ledger_});
    load.wait_until_acknowledged(100);
    const ReadOnlyPrimary fence;
    load.wait_for("no server takes writes", [&] { return finds_no_server(load); });
    EXPECT_GT(load.finish().at("totals").at("failed").get<int>(), 0);
  }
  const auto [holds, report] = verified();
  EXPECT_TRUE(holds) << report;
}

TEST_F(LoadgenOnAPair, ARunNeedsASeed) {
  session_.script("ALTER TABLE loadgen_database RENAME TO moved_away", soon);
  std::ostringstream out;
  try {
    run({.pair = pair(), .listen = "127.0.0.1:0"}, system_clock(), {}, out);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::configuration);
    EXPECT_THAT(error.hint(), HasSubstr("loadgen seed"));
  }
  session_.script("ALTER TABLE moved_away RENAME TO loadgen_database", soon);
}

TEST_F(LoadgenOnAPair, AFullDiskEndsTheRunWithAnError) {
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit limit{4096, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &limit);
  Running load({.ops_per_second = 1000, .connections = 4, .ledger = ledger_});
  try {
    load.wait();
    ADD_FAILURE() << "it must not end well";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::file_failed);
    EXPECT_THAT(error.what(), HasSubstr(ledger_));
  }
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, SIG_DFL);
  const auto [holds, report] = verified();
  EXPECT_TRUE(holds) << report;
  EXPECT_THAT(report, HasSubstr("unrecorded"));
}

// ---- Lost writes are noticed while the load runs

std::vector<Outcome> acknowledged(std::uint64_t first, std::uint64_t last) {
  std::vector<Outcome> outcomes;
  for (std::uint64_t number = first; number <= last; ++number) {
    outcomes.push_back({.number = number, .operation = 0, .result = Result::acknowledged});
  }
  return outcomes;
}

/// The operations 0 to 9 of run 77: acknowledged, and there.
void add_ten(LossCheck& check, Session& session) {
  session.script("INSERT INTO loadgen_operations (run, operation) SELECT 77, n FROM generate_series(0, 9) AS n", soon);
  check.add(acknowledged(0, 9));
}

TEST_F(LoadgenOnAPair, ALookFindsAcknowledgedWritesThatAreMissing) {
  LossCheck check(pair(), 77);
  check.look({});
  EXPECT_EQ(check.lost(), std::nullopt) << "nothing was acknowledged yet";
  add_ten(check, session_);
  check.look({});
  EXPECT_EQ(check.lost(), 0U);
  session_.script("DELETE FROM loadgen_operations WHERE run = 77 AND operation >= 8", soon);
  check.add(acknowledged(10, 10));
  check.look({});
  EXPECT_EQ(check.lost(), 3U) << "the new one is missing, and so it looks at the others again";
  session_.script("INSERT INTO loadgen_operations (run, operation) VALUES (77, 8), (77, 9)", soon);
  check.look({});
  EXPECT_EQ(check.lost(), 3U) << "what was found is not forgotten";
}

TEST_F(LoadgenOnAPair, ANewSessionIsAskedForAllOfThem) {
  LossCheck check(pair(), 77);
  add_ten(check, session_);
  check.look({});
  session_.script("DELETE FROM loadgen_operations WHERE run = 77 AND operation = 5", soon);
  check.look({});
  EXPECT_EQ(check.lost(), 0U) << "nothing is new";
  superuser().script(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgrm-loadgen-check'", soon);
  session_.script("INSERT INTO loadgen_operations (run, operation) VALUES (77, 10), (77, 11)", soon);
  check.add(acknowledged(10, 10));
  check.look({});  // it notices that its session is gone
  check.add(acknowledged(11, 11));
  check.look({});
  EXPECT_EQ(check.lost(), 1U);
}

TEST_F(LoadgenOnAPair, ALookAtAServerThatIsNotThereFindsNothing) {
  const Conninfo nobody = pair().primary.with("port", "1");
  LossCheck check({nobody, nobody}, 77);
  check.add(acknowledged(0, 9));
  check.look({});
  EXPECT_EQ(check.lost(), std::nullopt);
}

TEST_F(LoadgenOnAPair, WhatWasFoundLongAgoIsNotSaidOfNow) {
  LossCheck check(pair(), 77);
  add_ten(check, session_);
  check.look({});
  session_.script("ALTER TABLE loadgen_operations RENAME TO elsewhere", soon);
  for (int failed = 1; failed <= LossCheck::patience; ++failed) {
    EXPECT_EQ(check.lost(), 0U) << failed;
    check.add(acknowledged(10, 10));
    check.look({});
  }
  EXPECT_EQ(check.lost(), std::nullopt);
  session_.script(
      "ALTER TABLE elsewhere RENAME TO loadgen_operations; INSERT INTO loadgen_operations (run, operation) VALUES (77, "
      "10)",
      soon);
  check.look({});
  EXPECT_EQ(check.lost(), 0U);
}

TEST_F(LoadgenOnAPair, ALookIsAboutTheLatestOperations) {
  LossCheck check(pair(), 77);
  check.add(acknowledged(0, 4));
  check.add(acknowledged(5, LossCheck::window + 3));  // 0 to 3 are too old by now
  session_.script("INSERT INTO loadgen_operations (run, operation) SELECT 77, n FROM generate_series(6, " +
                      std::to_string(LossCheck::window + 3) + ") AS n",
                  soon);
  check.look({});
  EXPECT_EQ(check.lost(), 2U);
}

// ---- Verify finds what is wrong

class Verify : public LoadgenOnAPair {
 protected:
  void SetUp() override {
    LoadgenOnAPair::SetUp();
    Running load({.ops_per_second = 0, .connections = 4, .ledger = ledger_});
    load.wait_until_acknowledged(100);
    run_ = load.finish().at("run").get<std::string>();
    const auto [holds, report] = verified();
    ASSERT_TRUE(holds) << report;
  }
  void expect_finding(const std::string& finding, std::vector<Conninfo> against = {}) {
    const auto [holds, report] = verified(std::move(against));
    EXPECT_FALSE(holds);
    EXPECT_THAT(report, AllOf(HasSubstr(finding), HasSubstr("NOT proven")));
  }

  std::string run_;
};

TEST_F(Verify, FindsAnAcknowledgedWriteThatIsMissing) {
  session_.script("DELETE FROM loadgen_operations WHERE operation IN (3, 4, 7)", soon);
  expect_finding("LOST, acknowledged but missing: run " + run_ + ", operations 3-4, 7\n");
}

TEST_F(Verify, FindsThatEverythingIsMissing) {
  session_.script("TRUNCATE loadgen_operations", soon);
  expect_finding("LOST, acknowledged but missing: run " + run_ + ", operations 0-");
}

TEST_F(Verify, FindsAFailedWriteThatIsThere) {
  const Database database = seeded_database(session_);
  Ledger ledger(ledger_, database.identity, 99, system_clock(), {}, {});
  ledger.record({.number = 5, .operation = 0, .result = Result::failed, .sqlstate = "23505"});
  ledger.finish();
  session_.script("INSERT INTO loadgen_operations (run, operation) VALUES (99, 5)", soon);
  expect_finding("WRONG, failed but present: run 99, operations 5\n");
}

TEST_F(Verify, FindsAWriteThatNobodyRecorded) {
  session_.script("INSERT INTO loadgen_operations (run, operation) VALUES (" + run_ + ", 1000000)", soon);
  expect_finding("WRONG, present but in no ledger: run " + run_ + ", operations 1000000\n");
}

TEST_F(Verify, CountsWhatIsInDoubtBothWays) {
  const Database database = seeded_database(session_);
  Ledger ledger(ledger_, database.identity, 99, system_clock(), {}, {});
  for (std::uint64_t number = 0; number < 3; ++number) {
    ledger.record({.number = number, .operation = 0, .result = Result::in_doubt});
  }
  ledger.finish();
  session_.script("INSERT INTO loadgen_operations (run, operation) VALUES (99, 1)", soon);
  const auto [holds, report] = verified();
  EXPECT_TRUE(holds) << report;
  EXPECT_THAT(report, HasSubstr("present 1, absent 2"));
}

TEST_F(Verify, FindsAWriteThatWentToTheWrongServer) {
  // A copy has the same identity, as the old primary has after a promotion.
  session_.close();
  superuser().script("DROP DATABASE IF EXISTS loadgen_test_copy", soon);
  superuser().script(std::string("CREATE DATABASE loadgen_test_copy OWNER pgrm_app TEMPLATE ") + database_name, soon);
  const Conninfo here = pair().primary;
  const Conninfo copy = here.with("dbname", "loadgen_test_copy");
  EXPECT_TRUE(verified({here, copy}).first);
  Session other(copy, "loadgen_test");
  other.open(soon);
  other.script("INSERT INTO loadgen_operations (run, operation) VALUES (" + run_ + ", 1000000)", soon);
  expect_finding("WRONG, only on " + copy.describe() + ": run " + run_ + ", operations 1000000\n", {here, copy});
  other.close();
  superuser().script("DROP DATABASE loadgen_test_copy", soon);
}

TEST_F(Verify, FindsAWriteOfARunThatTheLedgerDoesNotKnow) {
  session_.close();
  superuser().script("DROP DATABASE IF EXISTS loadgen_test_copy", soon);
  superuser().script(std::string("CREATE DATABASE loadgen_test_copy OWNER pgrm_app TEMPLATE ") + database_name, soon);
  const Conninfo here = pair().primary;
  const Conninfo copy = here.with("dbname", "loadgen_test_copy");
  Session other(copy, "loadgen_test");
  other.open(soon);
  other.script("INSERT INTO loadgen_operations (run, operation) VALUES (99, 0), (99, 1)", soon);
  expect_finding("WRONG, only on " + copy.describe() + ": run 99, operations 0-1\n", {here, copy});
  session_.open(soon);
  session_.script("INSERT INTO loadgen_operations (run, operation) VALUES (99, 0), (99, 1)", soon);
  const auto [holds, report] = verified({here, copy});
  EXPECT_TRUE(holds) << "both have them" << report;
  other.close();
  superuser().script("DROP DATABASE loadgen_test_copy", soon);
}

TEST_F(Verify, TakesNoStandbyForTheServerThatMustHoldEverything) {
  for (const std::vector<Conninfo>& against : {std::vector{pair().replica}, {pair().replica, pair().primary}}) {
    try {
      verified(against);
      ADD_FAILURE();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::configuration);
      EXPECT_THAT(error.what(), HasSubstr(pair().replica.describe() + " is a standby"));
    }
  }
  EXPECT_TRUE(verified({pair().primary, pair().replica}).first);
}

TEST_F(Verify, SaysThatAServerWasNotComparedAlsoWhereItSaysProven) {
  std::ostringstream out;
  const Pair alone{pair().primary, pair().replica.with("port", "1")};
  EXPECT_TRUE(verify({.ledger = ledger_, .pair = alone}, {}, out));
  EXPECT_THAT(out.str(), HasSubstr("proven on " + alone.primary.describe() + ": every acknowledged write is there; " +
                                   alone.replica.describe() + " was not compared\n"));
}

TEST_F(Verify, TakesOneServerUnderTwoNamesForOne) {
  std::ostringstream out;
  const Pair one{pair().primary, pair().primary.with("host", "localhost")};
  EXPECT_TRUE(verify({.ledger = ledger_, .pair = one}, {}, out));
  EXPECT_THAT(out.str(), Not(HasSubstr("only on")));
}

TEST_F(Verify, LooksAtTheStandbyToo) {
  const auto [holds, report] = verified();
  EXPECT_THAT(report, HasSubstr("only on " + pair().replica.describe() + ": 0\n"));
}

TEST_F(Verify, FindsBrokenInvariants) {
  session_.script("ALTER TABLE orders DISABLE TRIGGER USER", soon);
  session_.script("UPDATE orders SET total_amount = total_amount + 1 WHERE id IN (1, 2)", soon);
  expect_finding("BROKEN  every total is the sum of its items, and every order has some: not so in 2 rows");
  session_.script("UPDATE orders SET total_amount = total_amount - 1 WHERE id IN (1, 2)", soon);
  EXPECT_TRUE(verified().first);
  session_.script("UPDATE orders SET updated_at = now() WHERE id = 3", soon);
  expect_finding("BROKEN  every change has its row in audit_log: not so in 1 rows");
}

TEST_F(Verify, RefusesTheLedgerOfAnotherDatabase) {
  seed_small({.users = 30, .products = 20, .orders = 40, .reset = true});
  try {
    verified();
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::configuration);
    EXPECT_THAT(error.what(), HasSubstr("ledger"));
  }
}

TEST_F(Verify, SaysTheSameAsJson) {
  session_.script("DELETE FROM loadgen_operations WHERE operation = 3", soon);
  std::ostringstream out;
  EXPECT_FALSE(verify({.ledger = ledger_, .pair = pair(), .against = {}, .json = true}, {}, out));
  const json report = json::parse(out.str());
  EXPECT_FALSE(report.at("proven").get<bool>());
  EXPECT_EQ(report.at("missing"), 1);
  EXPECT_EQ(report.at("found").get<int>(), report.at("acknowledged").get<int>() - 1);
  EXPECT_EQ(report.at("runs").at(0).at("missing"), (json{{"count", 1}, {"ranges", {{3, 3}}}}));
}

TEST_F(Verify, CanBeInterrupted) {
  std::stop_source stop;
  stop.request_stop();
  std::ostringstream out;
  EXPECT_THROW(verify({.ledger = ledger_, .pair = pair()}, stop.get_token(), out), Error);
  EXPECT_THAT(out.str(), Not(HasSubstr("proven")));
}

}  // namespace
}  // namespace pgrm::loadgen
