#include <iostream>
#include <optional>
#include <vector>

#include "agent/base/state_dir.h"
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

}  // namespace

int preflight(const Settings& settings, const Arguments& arguments) {
  Invocation invocation(options_of(settings, arguments), arguments, new_cutover_id(pgrm::system_clock().wall()));
  const auto findings = judge(gather_facts(invocation.servers, *invocation.exporter, invocation.traffic,
                                           *invocation.node_control, invocation.options, pgrm::system_clock()));
  const auto clients = try_writers(*invocation.servers.primary.admin, invocation.options.call_deadline);
  if (arguments.json) {
    std::cout << json_text({{"passed", passed(findings)},
                            {"checks", findings_to_json(findings)},
                            {"clients", clients ? writers_to_json(*clients) : nlohmann::json()}},
                           2)
              << '\n';
  } else {
    print_findings(std::cout, findings, true);
    if (clients) {
      std::cout << '\n';
      print_clients(std::cout, *clients, pgrm::system_clock().wall());
    }
    std::cout << '\n' << (passed(findings) ? "READY: " : "REFUSED: ") << sum_up(findings) << '\n';
  }
  return passed(findings) ? 0 : error_row(ErrorCode::preflight_refused).exit_code;
}

}  // namespace pgrm::agent
