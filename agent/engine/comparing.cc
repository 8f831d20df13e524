// What the application does, looked at when a cutover begins, right before writes stop, and when it is done.
#include "agent/compare/watch.h"

#include <spdlog/spdlog.h>

#include "agent/engine/acts.h"

namespace pgrm::agent {
namespace {

std::optional<WorkloadSnapshot> look(Cutover& cutover, const Server& server) {
  std::string problem;
  auto seen = try_look(server, cutover.options.call_deadline, problem);
  if (!problem.empty()) {
    spdlog::warn("a look at what the application does failed: {}", problem);
    if (cutover.workload.problem.empty()) cutover.workload.problem = problem;
  }
  return seen;
}

}  // namespace

void look_at_begin(Cutover& cutover) {
  if (cutover.options.rehearsal) return;
  auto now = look(cutover, cutover.servers.old_primary);
  auto& begin = cutover.workload.begin;
  // One that was taken before (agent compare --begin) makes a longer window, if it is of this server as it runs now.
  if (!begin || !now || !between(*begin, *now, Duration::zero()).problem.empty()) begin = std::move(now);
}

void look_at_end(Cutover& cutover) {
  // A second attempt: its window would have the pause of the first one in it.
  if (cutover.options.rehearsal || cutover.workload.end) return;
  cutover.workload.end = look(cutover, cutover.servers.old_primary);
  cutover.workload.old_primary = cutover.options.pair.old_primary.address();
  cutover.workload.new_primary = cutover.options.pair.new_primary.address();
  if (cutover.workload.end && cutover.on_workload) cutover.on_workload();
}

void look_at_opened(Cutover& cutover) { cutover.workload.opened = look(cutover, cutover.servers.new_primary); }

}  // namespace pgrm::agent
