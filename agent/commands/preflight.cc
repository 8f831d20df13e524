#include <iostream>
#include <optional>
#include <utility>
#include <vector>

#include "agent/base/state_dir.h"
#include "agent/commands/all_pairs.h"
#include "agent/commands/invocation.h"
#include "agent/view/clients.h"
#include "agent/view/report.h"
#include "core/base/error.h"
#include "core/base/json_text.h"

namespace pgrm::agent {
namespace {

/// nullopt: a server that does not answer, which the checks have said already.
std::optional<std::vector<Writer>> try_writers(Node& primary, Duration deadline) {
  try {
    return primary.writers(deadline);
  } catch (const Error&) {
    return std::nullopt;
  }
}

struct Looked {
  std::vector<Finding> findings;
  std::optional<std::vector<Writer>> clients;
};

Looked look(const Settings& settings, const Arguments& arguments) {
  Invocation invocation(options_of(settings, arguments), arguments, new_cutover_id(pgrm::system_clock().wall()));
  auto findings = judge(gather_facts(invocation.servers, *invocation.exporter, invocation.traffic,
                                     *invocation.node_control, invocation.options, pgrm::system_clock()));
  return {std::move(findings), try_writers(*invocation.servers.old_primary.admin, invocation.options.call_deadline)};
}

nlohmann::json to_json(const Looked& looked) {
  return {{"passed", passed(looked.findings)},
          {"checks", findings_to_json(looked.findings)},
          {"clients", looked.clients ? writers_to_json(*looked.clients) : nlohmann::json()}};
}

int exit_code_of(const Looked& looked) {
  return passed(looked.findings) ? 0 : error_row(ErrorCode::preflight_refused).exit_code;
}

}  // namespace

int preflight(const Settings& settings, const Arguments& arguments) {
  const Looked looked = look(settings, arguments);
  if (arguments.json) {
    std::cout << json_text(to_json(looked), 2) << '\n';
  } else {
    print_findings(std::cout, looked.findings, true);
    if (looked.clients) {
      std::cout << '\n';
      print_clients(std::cout, *looked.clients, pgrm::system_clock().wall());
    }
    std::cout << '\n' << (passed(looked.findings) ? "READY: " : "REFUSED: ") << sum_up(looked.findings) << '\n';
  }
  return exit_code_of(looked);
}

int preflight_all(const std::vector<Settings>& pairs, const Arguments& arguments, const std::stop_token& stop) {
  return judge_all(pairs, arguments, stop, "agent preflight", [&](const Settings& pair) {
    Looked looked = look(pair, arguments);
    const int exit_code = exit_code_of(looked);
    nlohmann::json json = to_json(looked);
    return PairJudged{.findings = std::move(looked.findings), .exit_code = exit_code, .json = std::move(json)};
  });
}

}  // namespace pgrm::agent
