#include <iostream>

#include "agent/base/state_dir.h"
#include "agent/commands/invocation.h"
#include "agent/view/report.h"
#include "core/base/error.h"
#include "core/base/json_text.h"

namespace pgrm::agent {

int preflight(const Settings& settings, const Arguments& arguments) {
  Invocation invocation(options_of(settings, arguments), arguments, new_cutover_id(pgrm::system_clock().wall()));
  const auto findings = judge(gather_facts(invocation.servers, *invocation.exporter, invocation.traffic,
                                           *invocation.node_control, invocation.options, pgrm::system_clock()));
  if (arguments.json) {
    std::cout << json_text({{"passed", passed(findings)}, {"checks", findings_to_json(findings)}}, 2) << '\n';
  } else {
    print_findings(std::cout, findings, true);
    std::cout << '\n' << (passed(findings) ? "READY: " : "REFUSED: ") << sum_up(findings) << '\n';
  }
  return passed(findings) ? 0 : error_row(ErrorCode::preflight_refused).exit_code;
}

}  // namespace pgrm::agent
