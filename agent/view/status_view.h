// What both servers are right now, for people: `agent status`, `agent status --watch`, and the head of a cutover's
// view.
#pragma once

#include <iosfwd>
#include <nlohmann/json.hpp>
#include <stop_token>
#include <string>
#include <vector>

#include "agent/engine/progress.h"
#include "agent/view/pair_watch.h"
#include "agent/view/screen.h"

namespace pgrm::agent {

/// The whole picture: verdict, roles, WAL from insert to replay, lag with its history, slot, what blocks.
Lines status_lines(const PairSnapshot& snapshot, const std::vector<LagHistory::Point>& history, const Style& style);

/// The same in one line, for pipes and logs.
std::string status_line(const PairSnapshot& snapshot);

nlohmann::json status_to_json(const PairSnapshot& snapshot);

/// A cutover under way: roles and lag in short, every step with its time, what is still to come.
/// `snapshot`: nullptr when nobody has looked yet.
Lines cutover_lines(const std::string& title, const Standing& standing, const PairSnapshot* snapshot,
                    const std::vector<LagHistory::Point>& history, Mono now, const Style& style);

}  // namespace pgrm::agent
