#include "agent/traffic/pgbouncer.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <future>
#include <map>
#include <set>
#include <sstream>
#include <thread>
#include <utility>

#include "agent/base/state_dir.h"
#include "agent/traffic/file_swap.h"
#include "core/base/error.h"

namespace pgrm::agent {
namespace {

namespace fs = std::filesystem;

/// The value of one setting, and where it stands, quotes included.
struct Token {
  std::size_t at = 0, length = 0;
  std::string value;
};

/// A line of a databases section: `name = host=… port=…`.
struct Entry {
  std::string name;
  std::map<std::string, Token> settings;
};

constexpr auto blank = " \t\r";

void skip_blanks(const std::string& line, std::size_t& at) {
  at = std::min(line.find_first_not_of(blank, at), line.size());
}

bool skip_equals(const std::string& line, std::size_t& at) {
  skip_blanks(line, at);
  if (at == line.size() || line[at] != '=') return false;
  skip_blanks(line, ++at);
  return true;
}

/// What stands in quotes, where a doubled quote stands for one, or else a word that ends before one of `ends`.
std::string read_word(const std::string& line, std::size_t& at, char quote, const char* ends) {
  std::string word;
  if (at == line.size() || line[at] != quote) {
    const std::size_t end = std::min(line.find_first_of(ends, at), line.size());
    word = line.substr(at, end - at);
    at = end;
    return word;
  }
  for (++at; at < line.size(); ++at) {
    if (line[at] == quote && (++at == line.size() || line[at] != quote)) break;
    word += line[at];
  }
  return word;
}

/// Without settings where the line is about something else.
Entry parse(const std::string& line) {
  Entry entry;
  std::size_t at = 0;
  skip_blanks(line, at);
  if (at < line.size() && (line[at] == ';' || line[at] == '#')) return entry;
  entry.name = read_word(line, at, '"', "= \t\r");
  if (!skip_equals(line, at)) return entry;
  while (at < line.size()) {
    const std::string key = read_word(line, at, '\0', "= \t\r");
    if (!skip_equals(line, at)) break;
    const std::size_t begin = at;
    std::string value = read_word(line, at, '\'', blank);
    entry.settings[key] = {begin, at - begin, std::move(value)};
    skip_blanks(line, at);
  }
  return entry;
}

/// One spelling for each host: a name in lower case, an IPv6 address as the system prints it.
std::string one_spelling(std::string host) {
  std::ranges::transform(host, host.begin(), [](unsigned char letter) { return std::tolower(letter); });
  std::array<char, INET6_ADDRSTRLEN> text{};
  in6_addr address{};
  if (inet_pton(AF_INET6, host.c_str(), &address) != 1) return host;
  return inet_ntop(AF_INET6, &address, text.data(), text.size());
}

bool is_at(const std::string& host, const std::string& port, const Conninfo& server) {
  return one_spelling(host) == one_spelling(server.host()) && port == server.port();
}

bool is_sent_to(const Entry& entry, const Conninfo& server) {
  const auto host = entry.settings.find("host");
  const auto port = entry.settings.find("port");
  return host != entry.settings.end() &&
         is_at(host->second.value, port == entry.settings.end() ? "5432" : port->second.value, server);
}

std::string repoint_line(std::string line, const Conninfo& from, const Conninfo& to) {
  const Entry entry = parse(line);
  if (!is_sent_to(entry, from)) return line;
  const Token& host = entry.settings.at("host");
  const auto port = entry.settings.find("port");
  // From the back, so that positions stay right.
  const auto set_host = [&] { line.replace(host.at, host.length, to.host()); };
  if (port == entry.settings.end()) {
    line.replace(host.at, host.length, fmt::format("{} port={}", to.host(), to.port()));
  } else if (port->second.at > host.at) {
    line.replace(port->second.at, port->second.length, to.port());
    set_host();
  } else {
    set_host();
    line.replace(port->second.at, port->second.length, to.port());
  }
  return line;
}

/// How many processes of this machine listen on a port: with so_reuseport, each has a socket of its own.
std::size_t listeners(const std::string& port) {
  std::map<std::string, std::size_t> sockets;  // by address
  std::size_t most = 0;
  for (const char* const path : {"/proc/self/net/tcp", "/proc/self/net/tcp6"}) {  // ProcSubset=pid hides /proc/net
    std::ifstream table(path);
    for (std::string line; std::getline(table, line);) {
      std::istringstream row(line);
      std::string number, local, remote, state;
      row >> number >> local >> remote >> state;
      if (state != "0A" || !local.ends_with(fmt::format(":{:04X}", std::stoi(port)))) continue;
      most = std::max(most, ++sockets[local]);
    }
  }
  return most;
}

/// Does it until it is done: a pooler that was restarted meanwhile takes orders like one that was not. Throws Error for
/// anything but a lost connection, and for that when `budget` is used up.
template <typename Order>
void insist(Duration budget, Order&& order) {
  const Mono end = system_clock().now() + budget;
  for (;;) {
    try {
      order();
      return;
    } catch (const Error& error) {
      const bool lost = error.code() == ErrorCode::unreachable || error.code() == ErrorCode::connection_lost;
      if (!lost || system_clock().now() >= end) throw;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  }
}

/// What all of them threw, in one text; empty when all is well.
std::string gather(std::vector<std::future<void>>& orders) {
  std::string trouble;
  for (std::future<void>& order : orders) {
    try {
      order.get();
    } catch (const Error& error) {
      trouble += (trouble.empty() ? "" : "; ") + std::string(error.what());
    }
  }
  return trouble;
}

bool leads_to(const PoolerDatabase& database, const Conninfo& server) {
  return is_at(database.host, database.port, server);
}

/// One pooler, and a console for each database, so that all of them are paused at once.
struct Instance {
  Conninfo console;
  std::vector<std::unique_ptr<Pooler>> sessions{};

  Pooler& session(std::size_t index = 0) {
    while (sessions.size() <= index) sessions.push_back(make_pooler(console));
    return *sessions[index];
  }
};

class PgBouncerTraffic final : public Traffic {
 public:
  explicit PgBouncerTraffic(PgBouncers poolers) : poolers_(std::move(poolers)) {
    for (const Conninfo& console : poolers_.consoles) instances_.push_back({console});
  }

  std::string name() const override { return "pgbouncer"; }

  std::string problem() override {
    if (instances_.empty()) return "no pooler is named: set PGBOUNCER_DSN or --pgbouncer";
    try {
      std::set<std::string> moved;
      for (const std::string& path : poolers_.files) {
        if (std::string found = problem_of_file(path); !found.empty()) return found;
        moved.merge(repointed(read_file(path), poolers_.old_primary));
      }
      if (poolers_.files.empty() && !poolers_.hook_repoints) {
        return "nothing points it to the new primary; set PGBOUNCER_DATABASES, or let a hook post_promote do it";
      }
      for (Instance& instance : instances_) {
        if (std::string found = problem_of(instance, moved); !found.empty()) return found;
      }
      const std::string shared = problem_of_shared_ports();
      return shared.empty() ? problem_of_peers() : shared;
    } catch (const Error& error) {
      return error.what();
    }
  }

  std::vector<std::string> orders(TrafficCall call) override {
    std::vector<std::string> lines;
    if (call == TrafficCall::after_fence) return lines;
    if (call == TrafficCall::resume_on_new) {
      for (const std::string& path : poolers_.files) {
        lines.push_back(fmt::format("in {}: {} instead of {}", path, poolers_.new_primary.address(),
                                    poolers_.old_primary.address()));
      }
    }
    for (Instance& instance : instances_) {
      const std::string pooler = instance.session().describe();
      if (call == TrafficCall::resume_on_new) lines.push_back(pooler + ": RELOAD");
      for (const std::string& name : databases_at(instance, poolers_.old_primary, poolers_.call_deadline)) {
        lines.push_back(fmt::format("{}: {} {}", pooler, call == TrafficCall::stop ? "PAUSE" : "RESUME", name));
      }
    }
    return lines;
  }

  /// Over every console: what stands between here and a pooler forgets a connection that says nothing for long.
  std::vector<int> waits_for() override {
    std::vector<int> pids;
    for (Instance& instance : instances_) {
      std::size_t at = 0;
      for (const std::string& name : databases_at(instance, poolers_.old_primary, poolers_.call_deadline)) {
        const auto backends = instance.session(at++).backends(name, poolers_.call_deadline);
        pids.insert(pids.end(), backends.begin(), backends.end());
      }
    }
    return pids;
  }

  void stop(Duration budget) override {
    stage_all();
    const Mono end = system_clock().now() + budget;
    std::vector<std::pair<Instance*, std::vector<std::string>>> wanted;
    for (Instance& instance : instances_) {
      std::vector<std::string> names;
      insist(std::chrono::milliseconds(100),
             [&] { names = databases_at(instance, poolers_.old_primary, end - system_clock().now()); });
      if (names.empty()) {
        throw Error(ErrorCode::query_failed, fmt::format("{} sends no database to {}", instance.session().describe(),
                                                         poolers_.old_primary.address()));
      }
      wanted.emplace_back(&instance, std::move(names));
    }
    std::vector<std::future<void>> paused;
    for (const auto& [instance, names] : wanted) {
      for (std::size_t i = 0; i < names.size(); ++i) {
        Pooler& session = instance->session(i);
        paused.push_back(std::async(
            std::launch::async, [&session, name = names[i], end] { session.pause(name, end - system_clock().now()); }));
      }
    }
    // The caller resumes all when one fails: all or none.
    if (const std::string trouble = gather(paused); !trouble.empty()) {
      throw Error(ErrorCode::timeout, trouble,
                  "a transaction was still open: look for it in SHOW SERVERS, or give it more time");
    }
  }

  void resume_on_new(Duration budget) override {
    for (const std::string& path : poolers_.files) switch_file(linked_file(path));
    on_each([&](Instance& instance) { insist(budget, [&] { resume_there(instance, budget); }); });
  }

  void resume_on_old(Duration budget) override {
    for (const std::string& path : poolers_.files) {
      std::error_code ignored;
      fs::remove(staged_name(path), ignored);
    }
    on_each([&](Instance& instance) {
      instance.sessions.clear();  // one may still wait for its PAUSE
      insist(budget, [&] { resume_all(instance, budget); });
    });
  }

 private:
  std::string problem_of_file(const std::string& path) const {
    const std::string text = read_file(path);
    if (repoint(text, poolers_.old_primary, poolers_.new_primary) == text) {
      return fmt::format("{} sends no database to host={} port={}", path, poolers_.old_primary.host(),
                         poolers_.old_primary.port());
    }
    return swap_problem(linked_file(path));
  }

  std::string problem_of(Instance& instance, const std::set<std::string>& moved) {
    Pooler& session = instance.session();
    const std::string who = session.describe();
    if (!session.is_admin(poolers_.call_deadline)) return who + " is not in admin_users";
    if (session.paused(poolers_.call_deadline)) return who + " is paused already";
    if (const std::string user = session.session_user(poolers_.call_deadline); !user.empty()) {
      return fmt::format("{}: user {} has pool_mode session: PAUSE would wait until its clients disconnect", who, user);
    }
    const std::string mode = session.setting("pool_mode", poolers_.call_deadline);
    std::size_t count = 0;
    for (const PoolerDatabase& database : session.databases(poolers_.call_deadline)) {
      if (!leads_to(database, poolers_.old_primary)) continue;
      if (database.paused) return fmt::format("{}: database {} is paused already", who, database.name);
      if ((database.pool_mode.empty() ? mode : database.pool_mode) == "session") {
        return fmt::format("{}: database {} has pool_mode session: PAUSE would wait until its clients disconnect", who,
                           database.name);
      }
      if (!poolers_.files.empty() && !moved.contains(database.name) && !moved.contains("*")) {
        return fmt::format("{}: database {} is not in PGBOUNCER_DATABASES: it would go on being sent to {}", who,
                           database.name, poolers_.old_primary.address());
      }
      instance.session(count++).databases(poolers_.call_deadline);  // open beforehand
    }
    if (count == 0) {
      return fmt::format("{} sends no database to {}", who, poolers_.old_primary.address());
    }
    return "";
  }

  /// Peers share their clients, on one machine or on several: a client may come to any of them.
  std::string problem_of_peers() {
    std::set<std::string> named;
    for (Instance& instance : instances_) named.insert(instance.session().setting("peer_id", poolers_.call_deadline));
    for (Instance& instance : instances_) {
      for (const std::string& peer : instance.session().peers(poolers_.call_deadline)) {
        if (named.contains(peer)) continue;
        return fmt::format("{} has a peer that PGBOUNCER_DSN does not name, peer_id {}: every one must be moved",
                           instance.session().describe(), peer);
      }
    }
    return "";
  }

  /// Behind one port the kernel chooses the process that answers: each must be named by a socket of its own.
  std::string problem_of_shared_ports() {
    std::map<std::string, std::set<std::string>> named;
    for (Instance& instance : instances_) {
      Pooler& session = instance.session();
      if (session.setting("so_reuseport", poolers_.call_deadline) != "1") continue;
      const std::string host = instance.console.host();
      if (!host.starts_with('/')) {
        return fmt::format(
            "{} may share its port with other processes (so_reuseport): PGBOUNCER_DSN must name each by "
            "its own unix_socket_dir, host=/…",
            session.describe());
      }
      named[session.setting("listen_port", poolers_.call_deadline)].insert(host);
    }
    for (const auto& [port, sockets] : named) {
      const std::size_t there = listeners(port);
      if (there == sockets.size()) continue;
      return fmt::format(
          "{} processes listen on port {} (so_reuseport), and PGBOUNCER_DSN names {}: every one must be moved", there,
          port, sockets.size());
    }
    return "";
  }

  /// All at once: one that does not answer must not hold up the others.
  template <typename Order>
  void on_each(Order&& order) {
    std::vector<std::future<void>> orders;
    for (Instance& instance : instances_) {
      orders.push_back(std::async(std::launch::async, [&order, &instance] { order(instance); }));
    }
    if (const std::string trouble = gather(orders); !trouble.empty()) {
      throw Error(ErrorCode::query_failed, trouble, "agent recover tries again");
    }
  }

  static std::vector<std::string> databases_at(Instance& instance, const Conninfo& server, Duration deadline) {
    std::vector<std::string> names;
    for (const PoolerDatabase& database : instance.session().databases(deadline)) {
      if (leads_to(database, server)) names.push_back(database.name);
    }
    return names;
  }

  void stage_all() const {
    for (const std::string& named : poolers_.files) {
      const std::string path = linked_file(named);
      stage(path, repoint(read_file(path), poolers_.old_primary, poolers_.new_primary));
    }
  }

  void switch_file(const std::string& path) const {
    const std::string text = read_file(path);
    const std::string wanted = repoint(text, poolers_.old_primary, poolers_.new_primary);
    std::error_code ignored;
    if (text == wanted) {  // an agent that died since had come that far
      fs::remove(staged_name(path), ignored);
      return;
    }
    // What was staged counts only if nobody has edited the file since.
    if (!fs::exists(staged_name(path), ignored) || read_file(staged_name(path)) != wanted) {
      stage(path, wanted);
    }
    swap_in(path);
  }

  /// A pooler is resumed only when it is sure to send nobody to the old primary any more.
  void resume_there(Instance& instance, Duration budget) {
    Pooler& session = instance.session();
    session.reload(budget);
    const auto left = databases_at(instance, poolers_.old_primary, budget);
    if (!left.empty()) {
      throw Error(ErrorCode::proof_failed,
                  fmt::format("{} still sends {} to {} after RELOAD, and stays paused", session.describe(),
                              fmt::join(left, ", "), poolers_.old_primary.address()),
                  poolers_.files.empty() ? "the hook post_promote must repoint it"
                                         : "is PGBOUNCER_DATABASES the file that it includes?");
    }
    resume_all(instance, budget);
  }

  /// A database that somebody else has paused stays paused. With a hook, the servers may have any name by now.
  bool ours(const PoolerDatabase& database) const {
    return poolers_.files.empty() || leads_to(database, poolers_.old_primary) ||
           leads_to(database, poolers_.new_primary);
  }

  void resume_all(Instance& instance, Duration budget) const {
    Pooler& session = instance.session();
    for (const PoolerDatabase& database : session.databases(budget)) {
      if (database.paused && ours(database)) session.resume(database.name, budget);
    }
  }

  PgBouncers poolers_;
  std::vector<Instance> instances_;
};

}  // namespace

std::set<std::string> repointed(const std::string& ini, const Conninfo& from) {
  std::set<std::string> names;
  std::istringstream lines(ini);
  for (std::string line; std::getline(lines, line);) {
    if (Entry entry = parse(line); is_sent_to(entry, from)) names.insert(std::move(entry.name));
  }
  return names;
}

std::string repoint(const std::string& ini, const Conninfo& from, const Conninfo& to) {
  std::string result;
  for (std::size_t start = 0; start < ini.size();) {
    const std::size_t end = std::min(ini.find('\n', start), ini.size());
    result += repoint_line(ini.substr(start, end - start), from, to);
    if (end < ini.size()) result += '\n';
    start = end + 1;
  }
  return result;
}

std::vector<std::string> poolers_at(const Conninfo& server, const std::vector<Conninfo>& consoles, Duration deadline) {
  std::vector<std::string> found;
  for (const Conninfo& console : consoles) {
    try {
      const auto pooler = make_pooler(console);
      const auto databases = pooler->databases(deadline);
      const auto leads_there = [&server](const PoolerDatabase& database) { return leads_to(database, server); };
      if (std::ranges::any_of(databases, leads_there)) found.push_back(pooler->describe());
    } catch (const Error&) {  // what does not answer sends nobody anywhere
    }
  }
  return found;
}

std::unique_ptr<Traffic> make_pgbouncer_traffic(PgBouncers poolers) {
  return std::make_unique<PgBouncerTraffic>(std::move(poolers));
}

}  // namespace pgrm::agent
