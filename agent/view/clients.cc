#include "agent/view/clients.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <ostream>
#include <tuple>

namespace pgrm::agent {
namespace {

struct Group {
  int sessions = 0;
  WallTime since = WallTime::max();
  std::string_view feels;
};

bool is_named(const Writer& writer, std::string_view part) {
  return writer.application_name.find(part) != std::string::npos;
}

struct Kind {
  bool (*is)(const Writer&);
  std::string_view feels;
};

/// The first that fits. What was seen of the drivers stands in docs/clients.md.
constexpr std::array kinds{
    Kind{[](const Writer& w) { return w.listens; }, "loses its LISTEN, and what is notified until it listens again"},
    Kind{[](const Writer& w) { return is_named(w, "pg_dump") || is_named(w, "pg_restore"); },
         "fails, and must be started again; --wait-for-transactions waits for its end"},
    Kind{[](const Writer& w) { return is_named(w, "psql") || is_named(w, "pgAdmin") || is_named(w, "DBeaver"); },
         "a person has to connect to the new primary"},
    Kind{[](const Writer& w) { return is_named(w, "JDBC"); },
         "connects anew, if its URL names both servers and says targetServerType=primary"},
    Kind{[](const Writer& w) { return is_named(w, "postgres.js"); },
         "may keep a part of its pool on a read-only old primary: --demote closed, or --drain-old"},
    Kind{[](const Writer&) { return true; }, "connects anew, if it names both servers and asks for one that can write"},
};

std::string_view feels(const Writer& writer) {
  return std::ranges::find_if(kinds, [&](const Kind& kind) { return kind.is(writer); })->feels;
}

}  // namespace

nlohmann::json writers_to_json(const std::vector<Writer>& writers) {
  auto sessions = nlohmann::json::array();
  for (const Writer& writer : writers) {
    sessions.push_back({{"pid", writer.pid},
                        {"application_name", writer.application_name},
                        {"user", writer.user},
                        {"database", writer.database},
                        {"address", writer.address},
                        {"since", to_iso8601(writer.since)},
                        {"state", writer.state},
                        {"feels", feels(writer)}});
  }
  return sessions;
}

void print_clients(std::ostream& out, const std::vector<Writer>& writers, WallTime now) {
  if (writers.empty()) {
    out << "no session of an application is on the primary now\n";
    return;
  }
  std::map<std::tuple<std::string, std::string, std::string, std::string>, Group> groups;
  for (const Writer& writer : writers) {
    Group& group = groups[{writer.application_name, writer.user, writer.database, writer.address}];
    ++group.sessions;
    group.since = std::min(group.since, writer.since);
    if (group.feels.empty() || writer.listens) group.feels = feels(writer);
  }
  out << fmt::format("{} sessions are on the primary now. A cutover without a pooler ends each of them once:\n",
                     writers.size());
  for (const auto& [name, group] : groups) {
    const auto& [application, user, database, address] = name;
    out << fmt::format("  {:>4}  {:<28} {:<24} {}, the oldest for {}\n", group.sessions,
                       application.empty() ? "(no application_name)" : application, user + "@" + database, address,
                       human(now - group.since));
    out << fmt::format("        {}\n", group.feels);
  }
}

}  // namespace pgrm::agent
