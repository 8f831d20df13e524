#include "agent/checks/ha_manager.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>

#include "agent/checks/judging.h"

namespace pgrm::agent {
namespace {

/// Where in a server something has left a trace.
using Place = std::vector<std::string> Traces::*;

struct Trace {
  Place place;
  std::string_view begins;  // an entry of the list begins with this, and
  std::string_view ends;    // ends with this
  bool acts;                // it is at work now; false: it was set up here, and may be stopped
};

struct HaManager {
  std::string_view name, pause;
  std::span<const Trace> traces;
};

// Names are those of the programs' own sources and documentation.
constexpr std::array patroni{
    Trace{&Traces::applications, "Patroni", "", true},                 // 4.0 and later
    Trace{&Traces::command_line, "track_commit_timestamp", "", true},  // it starts its servers with that
    Trace{&Traces::files, "", "/postgresql.base.conf", false},
};

constexpr std::array repmgr{
    Trace{&Traces::applications, "repmgr", "", true},
    Trace{&Traces::libraries, "repmgr", "", false},
    Trace{&Traces::databases, "repmgr", "", false},
};

constexpr std::array pg_auto_failover{
    Trace{&Traces::applications, "pgautofailover_", "", true},
    Trace{&Traces::slots, "pgautofailover_standby_", "", true},
    Trace{&Traces::files, "", "/postgresql-auto-failover.conf", false},
    Trace{&Traces::roles, "pgautofailover_", "", false},
};

constexpr std::array stolon{
    Trace{&Traces::applications, "stolon_", "", true},
    Trace{&Traces::slots, "stolon_", "", true},
    Trace{&Traces::files, "", "/stolon-temp-postgresql.conf", false},
};

constexpr std::array cloud_native_pg{
    Trace{&Traces::applications, "cnpg", "", true},
    Trace{&Traces::slots, "_cnpg_", "", true},
    Trace{&Traces::commands, "/controller/manager", "", true},
    Trace{&Traces::roles, "cnpg_", "", false},
};

constexpr std::array pacemaker{Trace{&Traces::files, "", "/rep_mode.conf", true}};

constexpr std::array ha_managers{
    HaManager{"Patroni", "patronictl pause --wait on its cluster", patroni},
    HaManager{"repmgr", "repmgr service pause", repmgr},
    HaManager{"pg_auto_failover", "stop pg_autoctl on both hosts, and start the servers without it", pg_auto_failover},
    HaManager{"Stolon", "stop the sentinels and both keepers of Stolon, and start the servers without them", stolon},
    HaManager{"CloudNativePG", "kubectl annotate cluster NAME --overwrite cnpg.io/reconciliationLoop=disabled",
              cloud_native_pg},
    HaManager{"Pacemaker", "pcs property set maintenance-mode=true", pacemaker},
};

/// The first entry that bears the trace; empty: none.
std::string entry_of(const Traces& traces, const Trace& trace) {
  const auto bears = [&](const std::string& entry) {
    return entry.starts_with(trace.begins) && entry.ends_with(trace.ends);
  };
  const auto& list = traces.*trace.place;
  const auto found = std::ranges::find_if(list, bears);
  return found == list.end() ? "" : *found;
}

}  // namespace

Verdict ha_manager(const Facts& facts) {
  std::string set_up;
  for (const auto& [node, sample] : both_servers(facts)) {
    for (const HaManager& manager : ha_managers) {
      for (const Trace& trace : manager.traces) {
        const std::string entry = entry_of(node.facts->traces, trace);
        if (entry.empty()) continue;
        const std::string text = fmt::format("{} ({} on {})", manager.name, entry, sample.address);
        const std::string hint = fmt::format("{}; then --ha-manager-paused says that it is paused", manager.pause);
        if (trace.acts && !facts.ha_manager_paused) {
          return fail(text + " acts on this pair, and would undo what a cutover does", hint);
        }
        if (trace.acts) return warn(text + " acts on this pair; a person says that it is paused", hint);
        if (set_up.empty()) set_up = text;
      }
    }
  }
  if (!set_up.empty()) {
    return warn(set_up + " has been set up here; nothing of it is seen to run",
                "make sure that it is stopped or paused until it knows the new primary");
  }
  return pass("no trace of one");
}

}  // namespace pgrm::agent
