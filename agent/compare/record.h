// The looks that a cutover keeps for a comparison, and how they are written down beside its journal.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "agent/compare/compare.h"
#include "core/pg/workload.h"

namespace pgrm::agent {

/// The file in the directory of a cutover, and the one of `agent compare --begin` in STATE_DIR itself.
inline constexpr auto workload_file = "workload.json";

/// Unknown looks are nullopt: nothing depends on them but the comparison.
struct WorkloadRecord {
  std::string old_primary{}, new_primary{};  // addresses
  std::optional<WorkloadSnapshot> begin{},
      end{};                                 // at the old primary: when the cutover began, and before writes stopped
  std::optional<WorkloadSnapshot> opened{};  // at the new one, when the cutover was done
  std::string problem{};                     // the first look that failed, and why; empty: none
};

nlohmann::json to_json(const WorkloadSnapshot& snapshot);
/// Throws nlohmann::json::exception.
WorkloadSnapshot snapshot_from_json(const nlohmann::json& json);

nlohmann::json to_json(const WorkloadRecord& record);
/// Throws nlohmann::json::exception.
WorkloadRecord record_from_json(const nlohmann::json& json);

/// What the application did to the old primary before writes stopped. Where the looks are too close to each other, it
/// is everything since that server's statistics began, and a note says so.
WorkloadWindow window_before(const WorkloadRecord& record);

/// What it has done to the new one since the cutover was done.
WorkloadWindow window_after(const WorkloadRecord& record, const WorkloadSnapshot& now);

}  // namespace pgrm::agent
