// loadgen beside pgbench with the same statements, clients and server, in one run: throughput, CPU, pace, latency,
// seed. What counts is the ratio; both numbers depend on the machine and on what else it does.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/base/command_line.h"
#include "core/base/wait.h"
#include "core/pg/session.h"
#include "loadgen/database.h"
#include "loadgen/ledger.h"
#include "loadgen/schema_sql.h"
#include "loadgen/workload.h"
#include "tests/bench/child.h"
#include "tests/bench/pgbench.h"
#include "tests/integration/lab_pair.h"

namespace pgrm::bench {
namespace {

using nlohmann::json;

constexpr auto window = 10.0;  // seconds over which a rate has to be kept
constexpr auto patience = std::chrono::minutes(5);
constexpr int clients = 10;
const std::vector<std::string> shop_tables{"users", "products", "orders", "order_items", "audit_log"};

struct Options {
  double seconds = 15;        // of each closed loop
  double paced_seconds = 20;  // of each run at a rate
  int rounds = 3;
  int seed_scale = 50;
  std::string only;
  std::uint64_t verify_operations = 10'000'000;
  std::string json_file{};
};

/// What one run of one program came to.
struct Measure {
  double per_second = 0;
  double cpu_us = 0;                              // client CPU per transaction
  double p50 = 0, p99 = 0;                        // seconds, from the scheduled start
  double slowest_window = 0, fastest_window = 0;  // transactions per second in the slowest and fastest ten seconds
};

/// One line of the result. `aim` is on `ratio`, or on `loadgen` where there is nothing to compare with.
struct Row {
  std::string name, unit;
  double loadgen = 0;
  std::optional<double> peer, ratio;
  std::vector<double> ratios{};  // of the rounds, of which `ratio` is the median
  std::string aim{};             // empty: there is none
  bool holds = true;
};

constexpr auto line = "{:44} {:>3} {:>11} {:>11} {:>6}  {:12}  {:8} {}";

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

/// Of runs in turn, `ours[i]` next to `theirs[i]`: each side's median, and the median of the ratios.
Row compared(const std::string& name, const std::string& unit, const std::vector<double>& ours,
             const std::vector<double>& theirs) {
  std::vector<double> ratios;
  std::ranges::transform(ours, theirs, std::back_inserter(ratios), std::divides());
  return {name, unit, median(ours), median(theirs), median(ratios), ratios};
}

std::vector<double> column(const std::vector<Measure>& measures, double Measure::*member) {
  std::vector<double> values;
  std::ranges::transform(measures, std::back_inserter(values), std::mem_fn(member));
  return values;
}

/// Each figure's own median.
Measure middle_of(const std::vector<Measure>& measures) {
  const auto of = [&measures](double Measure::*member) { return median(column(measures, member)); };
  return {of(&Measure::per_second), of(&Measure::cpu_us),         of(&Measure::p50),
          of(&Measure::p99),        of(&Measure::slowest_window), of(&Measure::fastest_window)};
}

double quantile(const std::vector<double>& sorted, double share) {
  if (sorted.empty()) return 0;
  return sorted[std::min(sorted.size() - 1, static_cast<std::size_t>(share * static_cast<double>(sorted.size())))];
}

class Bench {
 public:
  explicit Bench(const Options& options) : options_(options), pair_(LabPair::get()), files_(pair_.home() + "/bench") {
    std::filesystem::create_directories(files_);
    pgbench_ = pair_.variable("PG_BIN") + "/pgbench";
    if (!std::filesystem::exists(pgbench_)) {
      throw std::runtime_error(pgbench_ + " not found: PG_BIN=... names a PostgreSQL that has it");
    }
    say("seeding");
    run_child({program_, "seed"}, loadgen_environment("testdb"), log("seed"));
  }

  std::vector<Row> run() {
    const auto wanted = [this](const char* part) { return options_.only.empty() || options_.only == part; };
    for (const char* const commit : {"on", "off"}) {
      if (wanted("closed")) closed_loop(commit);
    }
    for (const int rate : {100, 2000}) {
      for (const char* const commit : {"on", "off"}) {
        if (wanted("rates")) at_rate(rate, commit);
      }
    }
    if (wanted("seed")) seed();
    if (wanted("verify")) verify();
    return rows_;
  }

 private:
  void closed_loop(const std::string& commit) {
    std::vector<Measure> ours;
    std::vector<Measure> theirs;
    for (int round = 0; round < options_.rounds; ++round) {
      say(fmt::format("closed loop, synchronous_commit={}, round {} of {}", commit, round + 1, options_.rounds));
      // In turn: the second one finds what the first one has written, and its vacuum.
      if (round % 2 == 0) theirs.push_back(pgbench(0, commit, options_.seconds));
      ours.push_back(loadgen(0, commit, options_.seconds));
      if (round % 2 != 0) theirs.push_back(pgbench(0, commit, options_.seconds));
    }
    const auto row = [&](const std::string& what, const std::string& unit, double Measure::*member) {
      return compared(fmt::format("closed loop, sync {}, {}", commit, what), unit, column(ours, member),
                      column(theirs, member));
    };
    add_at_least(0.95, row("transactions", "/s", &Measure::per_second));
    add_at_most(2, row("client CPU", "us", &Measure::cpu_us));
  }

  void at_rate(int rate, const std::string& commit) {
    std::vector<Measure> all_ours;
    std::vector<Measure> all_theirs;
    for (int round = 0; round < options_.rounds; ++round) {
      say(fmt::format("{} per second, synchronous_commit={}, round {} of {}", rate, commit, round + 1,
                      options_.rounds));
      all_theirs.push_back(pgbench(rate, commit, options_.paced_seconds));
      all_ours.push_back(loadgen(rate, commit, options_.paced_seconds));
    }
    const Measure ours = middle_of(all_ours);
    const Measure theirs = middle_of(all_theirs);
    const std::string name = fmt::format("rate {}, sync {}", rate, commit);
    const auto off = [rate](const Measure& measure) {
      return 100 * std::max(measure.fastest_window - rate, rate - measure.slowest_window) / rate;
    };
    const double worst = off(ours);
    add({name + ", worst 10 s off by", "%", worst, off(theirs), worst / off(theirs), {}, "<= 1 %", worst <= 1});
    add_at_most(1, compared(name + ", p50", "ms", {ours.p50 * 1e3}, {theirs.p50 * 1e3}));
    add_at_most(1, compared(name + ", p99", "ms", {ours.p99 * 1e3}, {theirs.p99 * 1e3}));
  }

  /// One of those who fill a database.
  struct Filler {
    std::string database;
    std::vector<std::string> tables;
    std::function<ChildResult()> fill;
    double rows = 0;
    std::vector<double> rates{};  // rows a second
    long max_rss_kib = 0;
  };

  /// Into a database that is gone afterwards.
  void fill(Filler& filler) {
    make_database(filler.database);
    const ChildResult result = filler.fill();
    filler.rows = rows_in(filler.database, filler.tables);
    filler.rates.push_back(filler.rows / to_seconds(result.wall));
    filler.max_rss_kib = std::max(filler.max_rss_kib, result.max_rss_kib);
    superuser().script("DROP DATABASE " + filler.database, patience);
  }

  /// Beside what PostgreSQL needs for the very same rows, and beside pgbench's own seed of about as many.
  void seed() {
    const std::string accounts_scale = std::to_string(std::max(1, options_.seed_scale / 5));
    const auto fill_shop = [this](const std::string& database) {
      return run_child({program_, "seed", "--scale", std::to_string(options_.seed_scale)},
                       loadgen_environment(database), log("seed-scale"));
    };
    // Nobody pays for new segments of WAL: those of the first seed, which does not count, are kept for all others.
    superuser().script("ALTER SYSTEM SET min_wal_size = '2GB'", patience);
    superuser().script("SELECT pg_reload_conf()", patience);
    say(fmt::format("loadgen seed --scale {}, into files", options_.seed_scale));
    make_database("bench_rows");
    fill_shop("bench_rows");
    psql("bench_rows", copy_out());
    const std::string copy = copy_in();

    Filler ours{"bench_loadgen", shop_tables, [&] { return fill_shop("bench_loadgen"); }};
    Filler copied{"bench_copy", shop_tables, [&] { return psql("bench_copy", copy); }};
    Filler accounts{"bench_pgbench", {"pgbench_accounts", "pgbench_tellers", "pgbench_branches"}, [&] {
                      return run_child({pgbench_, "-i", "-q", "-s", accounts_scale},
                                       libpq_environment("bench_pgbench", "on"), log("pgbench-i"));
                    }};
    for (int round = 0; round < options_.rounds; ++round) {
      say(fmt::format("seeding in turn, round {} of {}", round + 1, options_.rounds));
      fill(round % 2 == 0 ? ours : copied);
      fill(round % 2 == 0 ? copied : ours);
    }
    for (int round = 0; round < options_.rounds; ++round) {
      say(fmt::format("pgbench -i, round {} of {}", round + 1, options_.rounds));
      fill(accounts);
    }
    add_at_least(0.95, compared(fmt::format("seed of {:.0f} rows, beside COPY of them", ours.rows), "/s", ours.rates,
                                copied.rates));
    add(compared("the same, beside pgbench -i -s " + accounts_scale, "/s", ours.rates, accounts.rates));
    const double memory = static_cast<double>(ours.max_rss_kib) / 1024;
    add({"seed, memory of the client", "MiB", memory, std::nullopt, std::nullopt, {}, "<= 64", memory <= 64});
  }

  std::string columns_of(const std::string& table) {
    return superuser("bench_rows")
        .script("SELECT string_agg(quote_ident(attname), ', ') AS columns FROM pg_attribute WHERE attrelid = '" +
                    table + "'::regclass AND attnum > 0 AND attgenerated = ''",
                patience)
        .one()
        .text("columns")
        .value();
  }

  /// For psql: the rows of bench_rows into files.
  std::string copy_out() {
    std::string script;
    for (const std::string& table : shop_tables) {
      script += fmt::format("\\copy {0} ({1}) to '{2}/{0}.copy'\n", table, columns_of(table), files_);
    }
    return script;
  }

  /// For psql: from the files into the same tables, and then the same keys, triggers and vacuum.
  std::string copy_in() {
    write_file(files_ + "/schema.sql", loadgen::schema_sql);
    write_file(files_ + "/guards.sql", loadgen::guards_sql);
    std::string script = fmt::format("BEGIN;\n\\i {}/schema.sql\nCOMMIT;\n", files_);
    for (const std::string& table : shop_tables) {
      script += fmt::format("\\copy {0} ({1}) from '{2}/{0}.copy'\n", table, columns_of(table), files_);
    }
    return script + fmt::format("BEGIN;\n\\i {}/guards.sql\nCOMMIT;\nVACUUM (ANALYZE) {};\n", files_,
                                fmt::join(shop_tables, ", "));
  }

  ChildResult psql(const std::string& database, const std::string& script) {
    const std::string path = files_ + "/script.sql";
    write_file(path, script);
    return run_child({pair_.variable("PSQL"), "-Xq", "-v", "ON_ERROR_STOP=1", "-f", path},
                     libpq_environment(database, "on"), log("psql"));
  }

  static void write_file(const std::string& path, const std::string& text) {
    std::ofstream file(path);
    file << text;
    if (!file.flush()) throw std::runtime_error("cannot write " + path);
  }

  /// A ledger and a server with as many operations, of which all but ten are there.
  void verify() {
    say(fmt::format("verify of {} operations", options_.verify_operations));
    make_database("bench_verify");
    run_child({program_, "seed"}, loadgen_environment("bench_verify"), log("seed-verify"));
    Session session(pair_.as("pgrm_app", "bench_verify").primary, "loadgen_bench");
    session.open(patience);
    const std::string path = files_ + "/ledger-verify";
    loadgen::Ledger ledger(path, loadgen::seeded_database(session).identity, 1, system_clock(), {}, {});
    for (std::uint64_t number = 0; number < options_.verify_operations; ++number) {
      ledger.record({.number = number, .operation = 0, .result = loadgen::Result::acknowledged});
    }
    ledger.finish();
    session.script(
        fmt::format("INSERT INTO loadgen_operations (run, operation) SELECT 1, n FROM generate_series(10, {}) "
                    "AS n",
                    options_.verify_operations - 1),
        patience);
    const ChildResult result = run_child({program_, "verify", "--ledger", path, "--json"},
                                         loadgen_environment("bench_verify"), log("verify"), 1);
    if (json::parse(result.output).at("missing") != 10) throw std::runtime_error("verify did not find what is missing");
    const auto count = static_cast<double>(options_.verify_operations);
    add({fmt::format("verify of {:.0f} operations", count), "/s", count / to_seconds(result.wall), std::nullopt,
         std::nullopt});
    const double memory = static_cast<double>(result.max_rss_kib) / 1024;
    add({"verify, memory of the client", "MiB", memory, std::nullopt, std::nullopt, {}, "<= 64", memory <= 64});
  }

  Measure loadgen(double rate, const std::string& commit, double seconds) {
    settle();
    auto environment = loadgen_environment("testdb");
    environment["PGOPTIONS"] = "-c synchronous_commit=" + commit;
    const ChildResult result =
        run_child({program_, "run", "--ops-per-second", fmt::format("{:g}", rate), "--connections",
                   std::to_string(clients), "--duration", fmt::format("{:g}", seconds), "--report-interval", "86400",
                   "--ledger", files_ + "/ledger", "--listen", "127.0.0.1:0"},
                  environment, log("loadgen"));
    const json report = json::parse(result.output.substr(result.output.find("\n{") + 1));
    const json& totals = report.at("totals");
    Measure measure;
    measure.per_second = totals.at("ops_per_second").get<double>();
    measure.cpu_us = to_seconds(result.cpu) * 1e6 / totals.at("acknowledged").get<double>();
    measure.p50 = totals.at("latency_seconds").at("p50").get<double>();
    measure.p99 = totals.at("latency_seconds").at("p99").get<double>();
    if (rate > 0) windows_of(report.at("run").get<std::string>(), measure);
    return measure;
  }

  Measure pgbench(int rate, const std::string& commit, double seconds) {
    settle();
    const std::string run = std::to_string(++pgbench_runs_);
    const std::string prefix = files_ + "/pgbench-" + run;
    std::vector<std::string> arguments{
        pgbench_, "--no-vacuum", "--protocol=prepared",         "--client", std::to_string(clients), "--jobs",
        "2",      "--time",      fmt::format("{:.0f}", seconds)};
    if (rate > 0)
      arguments.insert(arguments.end(), {"--rate", std::to_string(rate), "--log", "--log-prefix=" + prefix});
    const std::vector<std::string> defined = constants(run);
    arguments.insert(arguments.end(), defined.begin(), defined.end());
    int number = 0;
    for (const auto& [text, weight] : scripts_of(loadgen::default_mix)) {
      const std::string file = fmt::format("{}/{}.sql", files_, ++number);
      std::ofstream(file) << text;
      arguments.insert(arguments.end(), {"-f", fmt::format("{}@{}", file, weight)});
    }
    const ChildResult result = run_child(arguments, libpq_environment("testdb", commit), log("pgbench"));
    Measure measure;
    measure.per_second = number_after(result.output, "tps = ");
    measure.cpu_us =
        to_seconds(result.cpu) * 1e6 / number_after(result.output, "number of transactions actually processed: ");
    if (rate > 0) {
      const std::vector<double> latencies = latencies_in_logs(prefix);
      measure.p50 = quantile(latencies, 0.5);
      measure.p99 = quantile(latencies, 0.99);
      windows_of(run, measure);
    }
    return measure;
  }

  /// From the times at which the server began the transactions of `run`.
  void windows_of(const std::string& run, Measure& measure) {
    Session session(pair_.as("pgrm_app").primary, "loadgen_bench");
    session.open(patience);
    const Rows rows = session.script(
        "SELECT extract(epoch FROM at)::float8 AS at FROM loadgen_operations WHERE run = " + run + " ORDER BY at",
        patience);
    std::vector<double> times;
    for (std::size_t i = 0; i < rows.size(); ++i) times.push_back(rows[i].real("at").value());
    measure.slowest_window = measure.fastest_window = static_cast<double>(times.size());
    bool first = true;
    for (std::size_t begin = 0, end = 0; begin < times.size() && times[begin] + window <= times.back(); ++begin) {
      while (times[end] < times[begin] + window) ++end;
      const double rate = static_cast<double>(end - begin) / window;
      measure.slowest_window = first ? rate : std::min(measure.slowest_window, rate);
      measure.fastest_window = first ? rate : std::max(measure.fastest_window, rate);
      first = false;
    }
  }

  static double number_after(const std::string& text, const std::string& words) {
    const auto at = text.find(words);
    if (at == std::string::npos) throw std::runtime_error("pgbench did not say \"" + words + "\":\n" + text);
    return std::stod(text.substr(at + words.size()));
  }

  Session superuser(const std::string& database = "postgres") {
    Session session(pair_.as("postgres", database).primary, "loadgen_bench");
    session.open(patience);
    return session;
  }
  /// So that no run pays for what the one before it has written: it is on both disks.
  void settle() {
    Session primary = superuser();
    primary.script("CHECKPOINT", patience);
    const WaitEnd end = wait_until(system_clock(), patience, std::chrono::milliseconds(20), {}, [&primary] {
      return primary
          .script("SELECT bool_and(replay_lsn >= pg_current_wal_flush_lsn()) AS done FROM pg_stat_replication",
                  patience)
          .one()
          .boolean("done")
          .value_or(false);
    });
    if (end != WaitEnd::reached) throw std::runtime_error("the standby does not catch up");
    Session standby(pair_.as("postgres", "postgres").replica, "loadgen_bench");
    standby.open(patience);
    standby.script("CHECKPOINT", patience);
  }
  void make_database(const std::string& name) {
    superuser().script("CREATE DATABASE " + name + " OWNER pgrm_app", patience);
    settle();
  }
  double rows_in(const std::string& database, const std::vector<std::string>& tables) {
    Session session = superuser(database);
    double sum = 0;
    for (const std::string& table : tables) {
      sum += session.script("SELECT count(*) AS n FROM " + table, patience).one().real("n").value();
    }
    return sum;
  }

  std::map<std::string, std::string> loadgen_environment(const std::string& database) const {
    return {{"PRIMARY_HOST", "127.0.0.1"},
            {"PRIMARY_PORT", pair_.variable("PRIMARY_PORT")},
            {"REPLICA_HOST", "127.0.0.1"},
            {"REPLICA_PORT", pair_.variable("REPLICA_PORT")},
            {"POSTGRES_USER", "pgrm_app"},
            {"POSTGRES_DB", database},
            {"POSTGRES_PASSWORD_FILE", pair_.home() + "/data/secrets/pgrm_app"},
            {"LOG_LEVEL", "warn"}};
  }
  std::map<std::string, std::string> libpq_environment(const std::string& database, const std::string& commit) const {
    return {{"PGHOST", "127.0.0.1"},
            {"PGPORT", pair_.variable("PRIMARY_PORT")},
            {"PGUSER", "pgrm_app"},
            {"PGDATABASE", database},
            {"PGPASSFILE", pair_.variable("PGPASSFILE")},
            {"PGOPTIONS", "-c synchronous_commit=" + commit}};
  }

  std::string log(const std::string& name) const { return files_ + "/" + name + ".log"; }
  static void say(const std::string& text) { std::cerr << "  .. " << text << std::endl; }

  void add_at_least(double aim, Row row) {
    row.aim = fmt::format(">= {:g}", aim);
    row.holds = row.ratio.value() >= aim;
    add(std::move(row));
  }
  void add_at_most(double aim, Row row) {
    row.aim = fmt::format("<= {:g}", aim);
    row.holds = row.ratio.value() <= aim;
    add(std::move(row));
  }
  void add(Row row) {
    const std::string peer = row.peer ? fmt::format("{:.2f}", *row.peer) : "-";
    const std::string ratio = row.ratio ? fmt::format("{:.2f}", *row.ratio) : "-";
    const std::string spread = row.ratios.size() > 1 ? fmt::format("{:.2f} to {:.2f}", std::ranges::min(row.ratios),
                                                                   std::ranges::max(row.ratios))
                                                     : "";
    const std::string verdict = row.aim.empty() ? "" : row.holds ? "holds" : "DOES NOT HOLD";
    std::cout << fmt::format(line, row.name, row.unit, fmt::format("{:.2f}", row.loadgen), peer, ratio, spread, row.aim,
                             verdict)
              << std::endl;
    rows_.push_back(std::move(row));
  }

  const Options& options_;
  const LabPair& pair_;
  const std::string files_;
  const std::string program_ = std::string(std::getenv("PGRM_BIN")) + "/loadgen";
  std::string pgbench_;
  int pgbench_runs_ = 0;
  std::vector<Row> rows_;
};

json to_json(const std::vector<Row>& rows) {
  json list = json::array();
  for (const Row& row : rows) {
    list.push_back({{"name", row.name},
                    {"unit", row.unit},
                    {"loadgen", row.loadgen},
                    {"peer", row.peer ? json(*row.peer) : json()},
                    {"ratio", row.ratio ? json(*row.ratio) : json()},
                    {"ratios", row.ratios},
                    {"aim", row.aim},
                    {"holds", row.aim.empty() ? json() : json(row.holds)}});
  }
  return {{"bench", "loadgen"}, {"rows", list}};
}

int main_of(int argc, char** argv) {
  Options options;
  CLI::App app("loadgen beside pgbench, on a pair of its own", "loadgen_bench");
  app.add_option("--seconds", options.seconds, "Of each closed loop")->capture_default_str();
  app.add_option("--paced-seconds", options.paced_seconds, "Of each run at a rate; windows are of 10 s")
      ->check(CLI::Range(12.0, 86400.0))
      ->capture_default_str();
  app.add_option("--rounds", options.rounds, "Of everything, in turn; medians count")
      ->check(CLI::Range(1, 99))
      ->capture_default_str();
  app.add_option("--seed-scale", options.seed_scale, "500: a million orders")->capture_default_str();
  app.add_option("--verify-operations", options.verify_operations, "In the ledger and on the servers")
      ->check(CLI::Range(1000, 1'000'000'000))
      ->capture_default_str();
  app.add_option("--only", options.only, "One part of it")->check(CLI::IsMember({"closed", "rates", "seed", "verify"}));
  app.add_option("--json", options.json_file, "Write the same as JSON into this file");
  CLI11_PARSE(app, argc, argv);

  // The programs that lie beside this one, and the lab of this checkout.
  setenv("PGRM_TOP", PGRM_TOP, 0);
  setenv("PGRM_BIN", std::filesystem::read_symlink("/proc/self/exe").parent_path().c_str(), 0);
  std::cout << fmt::format(line, "", "", "loadgen", "peer", "ratio", "of rounds", "aim", "") << std::endl;
  const std::vector<Row> rows = Bench(options).run();
  if (!options.json_file.empty()) std::ofstream(options.json_file) << to_json(rows).dump(2) << std::endl;
  return 0;
}

}  // namespace
}  // namespace pgrm::bench

int main(int argc, char** argv) {
  try {
    return pgrm::bench::main_of(argc, argv);
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "loadgen_bench: %s\n", failure.what());
    return 1;
  }
}
