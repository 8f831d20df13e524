// One question to all pairs of a file: each is judged on its own, and one table says how.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "agent/commands/commands.h"
#include "agent/view/pairs_view.h"

namespace pgrm::agent {

/// Throws Error for a pair that cannot be judged.
using JudgePair = std::function<PairJudged(const Settings& pair)>;

/// Judges many pairs at a time, so that one that hangs holds up no other; then prints the table, or with
/// arguments.json an array. `alone`: the command that says more of one pair. Returns 0 when all may be cut over, else
/// the exit code of a refusal. Throws Error(undone) when it is stopped.
int judge_all(const std::vector<Settings>& pairs, const Arguments& arguments, const std::stop_token& stop,
              const std::string& alone, const JudgePair& judge_pair);

}  // namespace pgrm::agent
