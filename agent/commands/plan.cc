#include "agent/plan/plan.h"

#include <iostream>
#include <utility>

#include "agent/base/state_dir.h"
#include "agent/commands/invocation.h"
#include "agent/view/plan_view.h"
#include "core/base/json_text.h"

namespace pgrm::agent {

int plan(const Settings& settings, const Arguments& arguments, std::stop_token stop) {
  Arguments silent = arguments;
  silent.json = true;
  Questions questions;
  const OnServerStatement told = [&](const std::string& address, const std::string& sql) {
    questions.add(address, sql);
  };
  Invocation invocation(options_of(settings, arguments), silent, new_cutover_id(pgrm::system_clock().wall()), told);
  const Options& options = invocation.options;
  Cutover planned = invocation.cutover(std::move(stop));
  const Outcome looked = dry_run(planned);
  if (looked.exit_code != 0) {
    Arguments refused = arguments;
    refused.dry_run = true;
    return report_outcome(planned, looked, refused, {});
  }
  const Plan made = make_plan(planned, looked, [&] {
    return Cast{make_servers(options.pair, invocation.id, options.siblings, told),
                make_traffics(options, traffic_context(options, invocation.id)),
                make_node_control(options.node_control,
                                  {options.pair.old_primary, options.pair.new_primary, options.standby_slot})};
  });
  const nlohmann::json json = plan_to_json(planned, made, questions);
  if (arguments.json) {
    std::cout << json_text(json, 2) << '\n';
  } else if (arguments.html) {
    std::cout << plan_page(json);
  } else {
    print_plan(std::cout, json);
  }
  return 0;
}

}  // namespace pgrm::agent
