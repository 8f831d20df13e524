#include "agent/engine/steps.h"

#include <array>

#include "agent/engine/acts.h"
#include "agent/engine/alignment.h"
#include "agent/engine/replica_settings.h"

namespace pgrm::agent {
namespace {

/// Every wait of a step on the critical path, with room to spare.
Duration quick(const Options& options) {
  return 6 * options.drain_timeout + options.max_write_pause + options.promote_timeout;
}

/// Two checkpoints, or two waits for the replica.
Duration patient(const Options& options) {
  return quick(options) + 2 * options.checkpoint_deadline + 2 * options.sync_timeout + options.wait_for_transactions;
}

constexpr std::array table{
    Step{.name = "preflight",
         .why = "every prerequisite is checked, nothing is changed",
         .in_dry_run = true,
         .preview = preview_preflight,
         .run = run_preflight,
         .time_limit = patient},
    Step{.name = "warm",
         .why = "with --warm the future primary has in its buffers what the old one keeps there",
         .preview = preview_warm,
         .run = run_warm},
    Step{.name = "wait_sync",
         .why = "the exporter must have seen the pair in sync several times in a row",
         .in_dry_run = true,
         .preview = preview_wait_sync,
         .run = run_wait_sync,
         .time_limit = patient},
    Step{.name = "prepare",
         .why = "what can be done before writes are stopped is done now",
         .preview = preview_prepare,
         .run = run_prepare,
         .time_limit = patient},
    Step{.name = "hold", .why = "a person or the time of the day says when", .preview = preview_hold, .run = run_hold},
    Step{.name = "replica_settings",
         .why = "no setting of the replica delays the promotion",
         .mutates = true,
         .preview = preview_replica_settings,
         .before = before_replica_settings,
         .recall = recall_replica_settings,
         .run = run_replica_settings,
         .undo = undo_replica_settings},
    Step{.name = "align_wal",
         .why = "the promotion need not copy a WAL segment",
         .preview = preview_align_wal,
         .run = run_align_wal,
         .time_limit = patient},
    Step{.name = "moment",
         .why = "writes are stopped only when the pause is going to be short",
         .preview = preview_moment,
         .run = run_moment,
         .time_limit = patient},
    Step{.name = "arm_fence",
         .why = "the settings of the fence are written to disk while the application goes on",
         .mutates = true,
         .preview = preview_arm_fence,
         .before = before_arm_fence,
         .recall = recall_arm_fence,
         .run = run_arm_fence,
         .undo = undo_arm_fence,
         .time_limit = quick},
    Step{.name = "stop_traffic",
         .why = "the application stops writing by itself",
         .mutates = true,
         .preview = preview_stop_traffic,
         .run = run_stop_traffic,
         .undo = undo_stop_traffic,
         .time_limit = quick},
    Step{.name = "fence",
         .why = "no other client writes to the old primary",
         .mutates = true,
         .preview = preview_fence,
         .run = run_fence,
         .undo = undo_fence,
         .time_limit = quick},
    Step{.name = "final_verification",
         .why = "every byte has arrived and is replayed",
         .preview = preview_final_verification,
         .run = run_final_verification,
         .time_limit = quick},
    Step{.name = "promote",
         .why = "the point of no return",
         .mutates = true,
         .commits = true,
         .preview = preview_promote,
         .before = before_promote,
         .recall = recall_promote,
         .run = run_promote,
         .time_limit = quick},
    Step{.name = "validate",
         .why = "the new primary proves itself by writing",
         .mutates = true,
         .preview = preview_validate,
         .run = run_validate,
         .time_limit = quick},
    Step{.name = "open",
         .why = "the application goes on with the new primary",
         .mutates = true,
         .preview = preview_open,
         .run = run_open,
         .time_limit = quick},
    Step{.name = "demote_old",
         .why = "the old primary is proved to refuse writes",
         .mutates = true,
         .preview = preview_demote_old,
         .run = run_demote_old},
    Step{.name = "drain_old",
         .why = "no session that may want to write stays on the old primary unseen",
         .mutates = true,
         .preview = preview_drain_old,
         .run = run_drain_old},
};

}  // namespace

std::span<const Step> steps() { return table; }

}  // namespace pgrm::agent
