// What the checks of many pairs came to, in one table.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "agent/checks/checks.h"
#include "agent/view/screen.h"
#include "core/base/clock.h"

namespace pgrm::agent {

struct PairJudged {
  std::string name{};
  std::vector<Finding> findings{};
  int exit_code = 0;                // of the contract; 0: it may be cut over
  std::string message{};            // what refuses it, when that is none of the findings
  std::optional<Duration> pause{};  // predicted, for which writes would stop; nullopt: nobody has predicted it
  nlohmann::json json{};            // the same as the command says it of this pair alone
};

/// Those that are refused before those that may be cut over; then by the number of refusals, of warnings, by name.
void sort_worst_first(std::vector<PairJudged>& pairs);

/// A row a pair, with the words of the first check that refuses it, or else of the first that warns.
Lines pairs_table(const std::vector<PairJudged>& pairs);

/// "2 of 3 pairs may be cut over".
std::string pairs_total(const std::vector<PairJudged>& pairs);

}  // namespace pgrm::agent
