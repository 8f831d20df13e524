#include <fmt/format.h>
#include <unistd.h>

#include <iostream>

#include "agent/base/state_dir.h"
#include "agent/commands/invocation.h"
#include "agent/engine/marker.h"
#include "agent/view/pair_watch.h"
#include "agent/view/screen.h"
#include "agent/view/status_view.h"
#include "core/base/error.h"
#include "core/base/json_text.h"

namespace pgrm::agent {
namespace {

/// Between two looks of `status --watch` unless MONITORING_INTERVAL says otherwise.
constexpr Duration watch_interval = std::chrono::seconds(1);

/// As an ordinary client would find both servers, and whose fence they carry.
Situation look_closely(Invocation& invocation) {
  return look_around(invocation.servers, invocation.options.pair, Trying::asking, invocation.options.call_deadline);
}

/// The agents that are at work on the pair, or have left a cutover behind; by server.
nlohmann::json agents_seen(Invocation& invocation, const Situation& seen) {
  nlohmann::json agents = nlohmann::json::array();
  for (const auto& [server, node] : {std::pair{&seen.old_primary, &invocation.servers.old_primary},
                                     std::pair{&seen.new_primary, &invocation.servers.new_primary}}) {
    if (!server->promoted()) continue;
    std::string holder;
    try {
      holder = node->admin->lock_holder(invocation.options.call_deadline);
    } catch (const Error& error) {
      holder = std::string("not known: ") + error.what();
    }
    const std::string marker = marker_on(*server);
    if (holder.empty() && marker.empty()) continue;
    agents.push_back({{"server", server->address}, {"at_work", holder}, {"cutover_under_way", marker}});
  }
  return agents;
}

void print_agents(std::ostream& out, const nlohmann::json& agents) {
  for (const auto& agent : agents) {
    const std::string at_work = agent.at("at_work"), marker = agent.at("cutover_under_way");
    if (!at_work.empty()) out << fmt::format("  agent at work          {}\n", at_work);
    if (!marker.empty()) out << fmt::format("  cutover under way      {}\n", marker);
  }
}

}  // namespace

int status(const Settings& settings, const Arguments& arguments, const std::stop_token& stop) {
  Invocation invocation(options_of(settings, arguments), arguments, new_cutover_id(pgrm::system_clock().wall()));
  const Clock& clock = pgrm::system_clock();
  const Duration interval =
      settings.given("MONITORING_INTERVAL") ? settings.seconds("MONITORING_INTERVAL", 0.05, 3600) : watch_interval;
  const bool in_place = arguments.watch && isatty(STDOUT_FILENO) != 0;
  LagHistory history;
  Block block(std::cout);
  bool blind = false;
  do {
    const PairSnapshot snapshot =
        look_at_pair(*invocation.servers.old_primary.admin, *invocation.servers.new_primary.admin, *invocation.exporter,
                     invocation.options.exporter_state, clock, invocation.options.call_deadline);
    blind = !snapshot.sample.primary.state && !snapshot.sample.replica.state;
    if (const auto behind = pair_lag(snapshot.sample).replay_bytes) history.add(clock.now(), *behind);
    const Style style = Style::of_terminal();
    const Lines lines = status_lines(snapshot, history.points(), style);
    if (arguments.json) {
      nlohmann::json told = status_to_json(snapshot);
      if (!arguments.watch) {
        const Situation seen = look_closely(invocation);
        told.update(situation_to_json(seen));
        told["agents"] = agents_seen(invocation, seen);
      }
      std::cout << json_text(told, arguments.watch ? -1 : 2) << std::endl;
    } else if (in_place) {
      block.draw(lines, style);
    } else if (arguments.watch) {
      std::cout << status_line(snapshot) << std::endl;
    } else {
      for (const Line& line : lines) std::cout << line.render({0, style.colour, style.unicode}) << '\n';
      const Situation seen = look_closely(invocation);
      print(std::cout, seen);
      print_agents(std::cout, agents_seen(invocation, seen));
    }
  } while (arguments.watch && std::cout && !clock.sleep_for(interval, stop));
  return blind ? error_row(ErrorCode::unreachable).exit_code : 0;
}

}  // namespace pgrm::agent
