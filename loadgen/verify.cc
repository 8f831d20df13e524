#include "loadgen/verify.h"

#include <fmt/format.h>

#include <array>
#include <functional>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>
#include <set>
#include <utility>

#include "core/base/error.h"
#include "core/base/json_text.h"
#include "core/base/wait.h"
#include "core/pg/session.h"
#include "loadgen/database.h"
#include "loadgen/ledger.h"
#include "loadgen/report.h"

namespace pgrm::loadgen {
namespace {

using nlohmann::json;

constexpr auto connect_deadline = std::chrono::seconds(5);
constexpr auto question_deadline = std::chrono::seconds(10);
constexpr auto statement_deadline = std::chrono::minutes(30);
constexpr std::uint8_t present_bit = 0x80;
constexpr std::size_t most_ranges_shown = 20;
constexpr std::size_t most_ranges_in_json = 1000;

constexpr auto catch_up_budget = std::chrono::seconds(30);
constexpr auto catch_up_poll = std::chrono::milliseconds(20);

constexpr Statement written{"written", R"sql(
SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END AS lsn
)sql"};

constexpr Statement behind{"behind", R"sql(
SELECT CASE WHEN NOT pg_is_in_recovery() OR pg_last_wal_replay_lsn() >= $1::pg_lsn THEN 0
            ELSE ($1::pg_lsn - pg_last_wal_replay_lsn())::bigint END AS bytes
)sql"};

constexpr Statement role{"role", R"sql(
SELECT pg_is_in_recovery() AS standby,
       NOT pg_is_in_recovery() AND current_setting('default_transaction_read_only') = 'off' AS writable,
       (SELECT system_identifier FROM pg_control_system()) || ' ' || extract(epoch FROM pg_postmaster_start_time())
         AS server
)sql"};

struct Invariant {
  const char* name;
  Statement statement;  // returns the number of rows that break it
};
constexpr std::array invariants{
    Invariant{"stock is never negative", {"check_stock", "SELECT count(*) AS broken FROM products WHERE stock < 0"}},
    Invariant{"every subtotal is quantity times unit price",
              {"check_subtotals",
               "SELECT count(*) AS broken FROM order_items WHERE subtotal IS DISTINCT FROM quantity * unit_price"}},
    Invariant{"every total is the sum of its items, and every order has some", {"check_totals", R"sql(
SELECT count(*) AS broken
  FROM orders LEFT JOIN (SELECT order_id AS id, sum(subtotal) AS total FROM order_items GROUP BY order_id) AS items USING (id)
 WHERE total_amount IS DISTINCT FROM total
)sql"}},
    // No operation has purged anything that is younger than the retention was at the last one.
    Invariant{"every change has its row in audit_log", {"check_audit_log", R"sql(
SELECT count(*) AS broken
  FROM (SELECT 'users' AS table_name, id, updated_at FROM users
        UNION ALL SELECT 'products', id, updated_at FROM products
        UNION ALL SELECT 'orders', id, updated_at FROM orders
        UNION ALL SELECT 'order_items', id, updated_at FROM order_items) AS changed
 WHERE updated_at >= COALESCE((SELECT max(at) - interval '5 minutes' FROM loadgen_operations), '-infinity')
   AND NOT EXISTS (SELECT FROM audit_log
                    WHERE audit_log.table_name = changed.table_name AND row_id = changed.id AND changed_at = updated_at)
)sql"}},
};

struct Server {
  std::string name;
  Session session;
};

Server open_server(const Conninfo& conninfo) {
  Server server{conninfo.describe(), Session(conninfo, "pgrm-loadgen-verify")};
  server.session.open(connect_deadline);
  return server;
}

/// A standby may lack what has not arrived yet, and that would be taken for lost.
void demand_no_standby(Server& authority) {
  if (!authority.session.execute(role, {}, question_deadline).one().boolean("standby").value()) return;
  throw Error(ErrorCode::configuration, authority.name + " is a standby, and may not hold every write yet",
              "name the server that takes writes first, and this one with a second --against");
}

/// Waits until a standby has replayed what `authority` has written by now: before that it may not even hold the tables.
/// Throws Error(timeout) when it does not come so far.
void catch_up(Server& standby, Session& authority, const std::stop_token& stop) {
  const auto lsn = authority.execute(written, {}, question_deadline).one().text("lsn");
  std::optional<std::int64_t> bytes;
  const WaitEnd end = wait_until(system_clock(), catch_up_budget, catch_up_poll, stop, [&] {
    bytes = standby.session.execute(behind, {lsn}, question_deadline).one().integer("bytes");
    return bytes == 0;
  });
  if (end == WaitEnd::reached) return;
  if (end == WaitEnd::stopped) throw Error(ErrorCode::undone, "interrupted: nothing is proven");
  throw Error(ErrorCode::timeout,
              fmt::format("{} is {} bytes behind after {}", standby.name,
                          bytes ? std::to_string(*bytes) : "an unknown number of", human(catch_up_budget)));
}

/// What `other` holds of `run` and `authority` does not. A write that reached both between the two looks is no finding:
/// what seems to be too much is looked up once more.
Ranges only_on(Session& other, Session& authority, std::int64_t run, const RunProof& proof,
               const std::stop_token& stop) {
  Ranges suspects;
  read_operations(other, run, 0, statement_deadline, stop, [&](std::uint64_t first, std::uint64_t last) {
    for (std::uint64_t number = first; number <= last; ++number) {
      if (!proof.present(number)) suspects.add(number);
    }
  });
  if (suspects.count() == 0) return suspects;
  Ranges there_by_now;
  read_operations(authority, run, suspects.all().front().first, statement_deadline, stop,
                  [&](std::uint64_t first, std::uint64_t last) { there_by_now.add(first, last); });
  Ranges extra;
  for (const Ranges::Range& range : suspects.all()) {
    for (std::uint64_t number = range.first; number <= range.last; ++number) {
      if (!there_by_now.contains(number)) extra.add(number);
    }
  }
  return extra;
}

/// The same for every run that `other` knows, also those that the ledger does not: somebody else may have written
/// there.
std::map<std::int64_t, Ranges> only_on(Session& other, Session& authority, const Proof& proof,
                                       const std::stop_token& stop) {
  std::map<std::int64_t, Ranges> by_run;
  for (const std::int64_t run : read_runs(other, statement_deadline)) {
    RunProof unknown;
    const auto known = proof.find(run);
    if (known == proof.end()) {
      read_operations(authority, run, 0, statement_deadline, stop,
                      [&](std::uint64_t first, std::uint64_t last) { unknown.found(first, last); });
    }
    Ranges extra = only_on(other, authority, run, known == proof.end() ? unknown : known->second, stop);
    if (extra.count() > 0) by_run.emplace(run, std::move(extra));
  }
  return by_run;
}

/// Throws Error(configuration) when `server` does not hold the database that the ledger is about.
void demand_identity(Server& server, const std::string& ledger, const std::string& identity) {
  const std::string observed = seeded_database(server.session).identity;
  if (observed == identity) return;
  throw Error(ErrorCode::configuration,
              fmt::format("ledger {} is about database {}, {} is {}", ledger,
                          identity.empty() ? "(nothing recorded)" : identity, server.name, observed),
              "name the ledger that was written to this database");
}

std::string in_words(const Ranges& ranges) {
  std::string text;
  std::size_t shown = 0;
  for (const auto& [first, last] : ranges.all()) {
    if (shown++ == most_ranges_shown) return text + ", …";
    if (!text.empty()) text += ", ";
    text += first == last ? std::to_string(first) : fmt::format("{}-{}", first, last);
  }
  return text;
}

json to_json(const Ranges& ranges) {
  json list = json::array();
  for (const auto& [first, last] : ranges.all()) {
    if (list.size() == most_ranges_in_json) break;
    list.push_back({first, last});
  }
  return {{"count", ranges.count()}, {"ranges", list}};
}

struct Extra {
  std::string server;
  std::map<std::int64_t, Ranges> by_run;
  std::string unreachable;  // why it was not looked at; empty: it was
};

struct Report {
  std::string ledger;
  LedgerContent content;
  std::string authority;
  std::map<std::int64_t, RunProof::Verdict> runs;
  std::vector<Extra> others;
  std::vector<std::pair<const char*, std::int64_t>> broken;  // invariants, with the number of rows that break them

  template <typename Count>
  std::uint64_t sum(Count count) const {
    std::uint64_t total = 0;
    for (const auto& [run, verdict] : runs) total += count(verdict);
    return total;
  }
  /// A ledger without an acknowledged write proves nothing.
  bool holds() const {
    if (sum([](const RunProof::Verdict& verdict) { return verdict.acknowledged; }) == 0) return false;
    for (const auto& [run, verdict] : runs) {
      if (!verdict.holds()) return false;
    }
    for (const Extra& other : others) {
      if (!other.by_run.empty()) return false;
    }
    return std::ranges::all_of(broken, [](const auto& row) { return row.second == 0; });
  }
};

void print(const Report& report, std::ostream& out) {
  using Verdict = RunProof::Verdict;
  const auto number = [](std::uint64_t count) { return fmt::format("{:>12}", with_commas(count)); };
  const std::uint64_t acknowledged = report.sum([](const Verdict& v) { return v.acknowledged; });
  const std::uint64_t missing = report.sum([](const Verdict& v) { return v.missing.count(); });
  const std::uint64_t in_doubt = report.sum([](const Verdict& v) { return v.in_doubt; });
  const std::uint64_t in_doubt_present = report.sum([](const Verdict& v) { return v.in_doubt_present; });
  const std::uint64_t unrecorded = report.sum([](const Verdict& v) { return v.unrecorded.count(); });

  out << fmt::format("ledger  {}: {} run{}{}\n", report.ledger, report.runs.size(), report.runs.size() == 1 ? "" : "s",
                     report.content.torn_bytes == 0
                         ? ""
                         : fmt::format(", {} bytes of an unfinished batch left out", report.content.torn_bytes))
      << fmt::format("server  {}\n\n", report.authority)
      << fmt::format("  acknowledged{}   found {}   missing {}\n", number(acknowledged),
                     with_commas(acknowledged - missing), with_commas(missing))
      << fmt::format("  failed      {}   present {}\n", number(report.sum([](const Verdict& v) { return v.failed; })),
                     with_commas(report.sum([](const Verdict& v) { return v.failed_present.count(); })))
      << fmt::format("  in doubt    {}   present {}, absent {}\n", number(in_doubt), with_commas(in_doubt_present),
                     with_commas(in_doubt - in_doubt_present));
  if (unrecorded > 0)
    out << fmt::format("  unrecorded  {}   in flight when a run ended without saying so\n", number(unrecorded));
  for (const Extra& other : report.others) {
    std::uint64_t count = 0;
    for (const auto& [run, extra] : other.by_run) count += extra.count();
    out << (other.unreachable.empty() ? fmt::format("  only on {}: {}\n", other.server, with_commas(count))
                                      : fmt::format("  {} was not compared: {}\n", other.server, other.unreachable));
  }
  out << '\n';
  for (const auto& [name, broken] : report.broken) {
    out << (broken == 0 ? fmt::format("  ok      {}\n", name)
                        : fmt::format("  BROKEN  {}: not so in {} rows\n", name, broken));
  }
  out << '\n';

  const auto finding = [&out](const char* what, std::int64_t run, const Ranges& ranges) {
    if (ranges.count() > 0) out << fmt::format("{}: run {}, operations {}\n", what, run, in_words(ranges));
  };
  for (const auto& [run, verdict] : report.runs) {
    finding("LOST, acknowledged but missing", run, verdict.missing);
    finding("WRONG, failed but present", run, verdict.failed_present);
    if (verdict.ended) finding("WRONG, present but in no ledger", run, verdict.unrecorded);
  }
  for (const Extra& other : report.others) {
    for (const auto& [run, extra] : other.by_run) finding(("WRONG, only on " + other.server).c_str(), run, extra);
  }
  const auto unseen =
      std::ranges::find_if(report.others, [](const Extra& other) { return !other.unreachable.empty(); });
  const std::string where = unseen == report.others.end() ? "" : " on " + report.authority;
  const std::string but = where.empty() ? "" : "; " + unseen->server + " was not compared";
  out << (report.holds()      ? fmt::format("proven{}: every acknowledged write is there{}\n", where, but)
          : acknowledged == 0 ? "NOT proven: the ledger has no acknowledged write\n"
                              : "NOT proven: see above\n")
      << std::flush;
}

json to_json(const Report& report) {
  json runs = json::array();
  for (const auto& [run, verdict] : report.runs) {
    runs.push_back({{"run", std::to_string(run)},
                    {"ended", verdict.ended},
                    {"acknowledged", verdict.acknowledged},
                    {"missing", to_json(verdict.missing)},
                    {"failed", verdict.failed},
                    {"failed_present", to_json(verdict.failed_present)},
                    {"in_doubt", verdict.in_doubt},
                    {"in_doubt_present", verdict.in_doubt_present},
                    {"unrecorded", to_json(verdict.unrecorded)}});
  }
  json others = json::array();
  for (const Extra& other : report.others) {
    json by_run = json::object();
    for (const auto& [run, extra] : other.by_run) by_run[std::to_string(run)] = to_json(extra);
    others.push_back({{"server", other.server},
                      {"compared", other.unreachable.empty()},
                      {"problem", other.unreachable},
                      {"only_there", by_run}});
  }
  json broken = json::object();
  for (const auto& [name, count] : report.broken) broken[name] = count;
  using Verdict = RunProof::Verdict;
  const std::uint64_t acknowledged = report.sum([](const Verdict& v) { return v.acknowledged; });
  const std::uint64_t missing = report.sum([](const Verdict& v) { return v.missing.count(); });
  return {{"proven", report.holds()},
          {"ledger", report.ledger},
          {"database", report.content.identity},
          {"torn_bytes", report.content.torn_bytes},
          {"server", report.authority},
          {"acknowledged", acknowledged},
          {"found", acknowledged - missing},
          {"missing", missing},
          {"runs", runs},
          {"others", others},
          {"broken_rows_by_invariant", broken}};
}

/// The servers to look at, the authority first; those of the pair that cannot be reached as notes.
std::vector<Server> open_servers(const VerifyOptions& options, std::vector<Extra>& notes) {
  std::vector<Server> servers;
  for (const Conninfo& server : options.against) servers.push_back(open_server(server));
  if (!servers.empty()) {
    demand_no_standby(servers.front());
    return servers;
  }

  std::optional<std::size_t> authority;
  std::set<std::string> seen;
  for (const Conninfo& server : {options.pair.primary, options.pair.replica}) {
    try {
      Server candidate = open_server(server);
      const Rows answer = candidate.session.execute(role, {}, question_deadline);
      if (!seen.insert(answer.one().text("server").value()).second) continue;  // a pooler, or a name that moves
      const bool writable = answer.one().boolean("writable").value();
      if (writable && authority) {
        throw Error(ErrorCode::proof_failed,
                    fmt::format("both {} and {} take writes", servers[*authority].name, candidate.name),
                    "stop one of them; --against names the one to believe");
      }
      if (writable) authority = servers.size();
      servers.push_back(std::move(candidate));
    } catch (const Error& error) {
      if (error.code() == ErrorCode::proof_failed) throw;
      notes.push_back({server.describe(), {}, error.what()});
    }
  }
  if (!authority) {
    throw Error(ErrorCode::unreachable, "no server of the pair takes writes",
                notes.empty() ? "name the server to look at with --against" : notes.front().unreachable);
  }
  std::swap(servers.front(), servers[*authority]);
  return servers;
}

}  // namespace

void RunProof::record(std::uint64_t number, Result result) {
  if (number >= operations_.size()) operations_.resize(number + 1);
  operations_[number] = static_cast<std::uint8_t>(index_of(result) + 1);
}

void RunProof::found(std::uint64_t first, std::uint64_t last) {
  for (std::uint64_t number = first; number <= last; ++number) {
    if (number < operations_.size()) operations_[number] |= present_bit;
    if (number >= operations_.size() || operations_[number] == present_bit) unrecorded_.add(number);
  }
}

bool RunProof::present(std::uint64_t number) const {
  return number < operations_.size() ? (operations_[number] & present_bit) != 0 : unrecorded_.contains(number);
}

RunProof::Verdict RunProof::verdict() const {
  Verdict verdict;
  verdict.unrecorded = unrecorded_;
  verdict.ended = ended_;
  for (std::uint64_t number = 0; number < operations_.size(); ++number) {
    const bool there = (operations_[number] & present_bit) != 0;
    const int recorded = operations_[number] & ~present_bit;
    if (recorded == 0) continue;
    switch (static_cast<Result>(recorded - 1)) {
      case Result::acknowledged:
        ++verdict.acknowledged;
        if (!there) verdict.missing.add(number);
        break;
      case Result::failed:
        ++verdict.failed;
        if (there) verdict.failed_present.add(number);
        break;
      case Result::in_doubt:
        ++verdict.in_doubt;
        verdict.in_doubt_present += there ? 1 : 0;
        break;
    }
  }
  return verdict;
}

Conninfo server_to_verify(const std::string& dsn, const Pair& pair) {
  Conninfo server = Conninfo::parse(dsn);
  if (server.has_password()) {
    throw Error(ErrorCode::usage,
                "a password in --against is refused: every user of this machine could read it on the command line",
                "set POSTGRES_PASSWORD_FILE, or put it into ~/.pgpass");
  }
  for (const char* const keyword : {"user", "dbname", "password"}) {
    if (server.get(keyword).empty() && !pair.primary.get(keyword).empty()) {
      server = server.with(keyword, pair.primary.get(keyword));
    }
  }
  return server;
}

bool verify(const VerifyOptions& options, const std::stop_token& stop, std::ostream& out) {
  Report report;
  report.ledger = options.ledger;
  Proof proof;
  report.content = read_ledger(options.ledger, {
                                                   .run_began = [&](std::int64_t run) { proof[run]; },
                                                   .outcome = [&](std::int64_t run, std::uint64_t number,
                                                                  Result result) { proof[run].record(number, result); },
                                                   .run_ended = [&](std::int64_t run) { proof[run].ended(); },
                                               });

  std::vector<Server> servers = open_servers(options, report.others);
  Server& authority = servers.front();
  report.authority = authority.name;
  demand_identity(authority, options.ledger, report.content.identity);
  for (auto& entry : proof) {
    RunProof& of_run = entry.second;
    read_operations(authority.session, entry.first, 0, statement_deadline, stop,
                    [&](std::uint64_t first, std::uint64_t last) { of_run.found(first, last); });
    report.runs.emplace(entry.first, of_run.verdict());
  }
  for (std::size_t i = 1; i < servers.size(); ++i) {
    try {
      catch_up(servers[i], authority.session, stop);
    } catch (const Error& error) {
      if (!options.against.empty() || error.code() == ErrorCode::undone) throw;
      report.others.push_back({servers[i].name, {}, error.what()});
      continue;
    }
    demand_identity(servers[i], options.ledger, report.content.identity);
    report.others.push_back({servers[i].name, only_on(servers[i].session, authority.session, proof, stop), {}});
  }
  for (const Invariant& invariant : invariants) {
    const Rows rows = authority.session.execute(invariant.statement, {}, statement_deadline);
    report.broken.emplace_back(invariant.name, rows.one().integer("broken").value());
  }

  if (options.json) {
    out << json_text(to_json(report), 2) << std::endl;
  } else {
    print(report, out);
  }
  return report.holds();
}

}  // namespace pgrm::loadgen
