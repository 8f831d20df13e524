// prober OLD NEW [PAUSE]: an independent witness. Two clients a server, a plain one and a hostile one that overrides
// the read-only default, try to write all the time, each to its own server only, and remember every write that was
// acknowledged. On SIGTERM it judges, prints what it saw, and exits with 1 if
//   - the old server acknowledged a write that began after the new one had acknowledged one, or
//   - an acknowledged write is missing on the server that takes writes now.
// OLD and NEW are conninfo strings of a role that owns the database. A client that was refused tries again after PAUSE
// milliseconds (50): a login costs more than a write.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <iostream>
#include <set>
#include <thread>
#include <vector>

#include "core/base/signals.h"
#include "core/base/wait.h"
#include "core/pg/session.h"

namespace pgrm {
namespace {

constexpr auto patience = std::chrono::seconds(2), judging_patience = std::chrono::seconds(10);

struct Write {
  std::int64_t id;
  Mono began, acknowledged;
};

struct Client {
  std::string name;
  bool on_new, hostile;
  std::vector<Write> writes{};
  std::int64_t refused = 0, unknown = 0;
};

Conninfo dressed(const Conninfo& server, const Client& client) {
  return client.hostile ? server.with("options", "-c default_transaction_read_only=off") : server;
}

void write_all_the_time(const Conninfo& server, Client& client, std::atomic<std::int64_t>& next_id, Duration pause,
                        const std::stop_token& stop) {
  Session session(dressed(server, client), "prober_" + client.name);
  while (!stop.stop_requested()) {
    try {
      session.open(patience);
      const Mono began = system_clock().now();
      const std::int64_t id = ++next_id;
      session.script(fmt::format("INSERT INTO prober_writes VALUES ({}, '{}')", id, client.name), patience);
      client.writes.push_back({id, began, system_clock().now()});
      system_clock().sleep_for(std::chrono::milliseconds(2), stop);
      continue;
    } catch (const Error& error) {
      const bool answered = error.code() != ErrorCode::timeout && error.code() != ErrorCode::connection_lost;
      ++(answered ? client.refused : client.unknown);
    }
    session.close();
    system_clock().sleep_for(pause, stop);
  }
}

/// The server that takes writes, opened; nullopt when neither does.
std::optional<Session> writable(const std::array<Conninfo, 2>& servers) {
  for (const Conninfo& server : servers) {
    Session session(server, "prober_judge");
    try {
      session.open(judging_patience);
      session.script("CREATE TEMP TABLE takes_writes (); DROP TABLE takes_writes", judging_patience);
      return session;
    } catch (const Error&) {  // not this one
    }
  }
  return std::nullopt;
}

bool both_at_once(const std::vector<Client>& clients) {
  Mono first_on_new = Mono::max();
  Mono last_begun_on_old = Mono::min();
  for (const Client& client : clients) {
    for (const Write& write : client.writes) {
      if (client.on_new) {
        first_on_new = std::min(first_on_new, write.acknowledged);
      } else {
        last_begun_on_old = std::max(last_begun_on_old, write.began);
      }
    }
  }
  return last_begun_on_old > first_on_new;
}

std::int64_t missing_on(Session& server, const std::vector<Client>& clients) {
  const Rows rows = server.script("SELECT id FROM prober_writes", std::chrono::seconds(30));
  std::set<std::int64_t> there;
  for (std::size_t i = 0; i < rows.size(); ++i) there.insert(rows[i].integer("id").value());
  std::int64_t missing = 0;
  for (const Client& client : clients) {
    missing += std::ranges::count_if(client.writes, [&](const Write& write) { return !there.contains(write.id); });
  }
  return missing;
}

int judge(const std::array<Conninfo, 2>& servers, const std::vector<Client>& clients) {
  for (const Client& client : clients) {
    std::cout << fmt::format("prober: {:<12} {:>6} acknowledged, {:>6} refused, {:>3} without an answer\n", client.name,
                             client.writes.size(), client.refused, client.unknown);
  }
  const bool twice = both_at_once(clients);
  if (twice) std::cout << "prober: WRONG: the old server acknowledged writes after the new one did\n";
  auto server = writable(servers);
  if (!server) {
    std::cout << "prober: WRONG: neither server takes writes\n";
    return 1;
  }
  const std::int64_t missing = missing_on(*server, clients);
  std::cout << fmt::format("prober: {} acknowledged writes are missing on {}\n", missing, server->conninfo().address());
  return twice || missing > 0 ? 1 : 0;
}

int probe(const std::array<Conninfo, 2>& servers, Duration pause, const std::stop_token& stop) {
  {
    auto server = writable(servers);
    if (!server) throw Error(ErrorCode::unreachable, "neither server takes writes");
    server->script("CREATE TABLE IF NOT EXISTS prober_writes (id bigint PRIMARY KEY, who text)", patience);
  }
  std::atomic<std::int64_t> next_id =
      std::chrono::duration_cast<std::chrono::microseconds>(system_clock().wall().time_since_epoch()).count();
  std::vector<Client> clients{{"plain_old", false, false},
                              {"hostile_old", false, true},
                              {"plain_new", true, false},
                              {"hostile_new", true, true}};
  {
    std::vector<std::jthread> threads;
    for (Client& client : clients) {
      threads.emplace_back([&, server = servers.at(client.on_new ? 1 : 0)] {
        write_all_the_time(server, client, next_id, pause, stop);
      });
    }
  }
  return judge(servers, clients);
}

}  // namespace
}  // namespace pgrm

int main(int argc, char** argv) {
  if (argc != 3 && argc != 4) {
    std::cerr << "usage: prober OLD NEW [PAUSE]\n";
    return 2;
  }
  const pgrm::Signals signals;
  try {
    const std::chrono::milliseconds pause(argc == 4 ? std::stoi(argv[3]) : 50);
    return pgrm::probe({pgrm::Conninfo::parse(argv[1]), pgrm::Conninfo::parse(argv[2])}, pause, signals.token());
  } catch (const std::exception& failure) {
    std::cerr << "prober: " << failure.what() << '\n';
    return 1;
  }
}
