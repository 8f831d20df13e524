// What the last cutovers of many pairs came to, in one table.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "agent/view/screen.h"

namespace pgrm::agent {

struct PairReport {
  std::string name;
  nlohmann::json report{};    // report.json; null: there is none
  nlohmann::json verified{};  // what `loadgen verify --json` has printed; null: nobody has kept it
  std::string missing{};      // why there is no report
};

/// By what somebody has to look after: those that are not finished first, those that are done last.
void sort_unfinished_first(std::vector<PairReport>& pairs);

/// A row a pair: when, outcome, pause, what clients felt, whether anything is lost, what remains by hand.
Lines reports_table(const std::vector<PairReport>& pairs);

/// How many came to which outcome, and the pauses of those that are done.
Lines reports_total(const std::vector<PairReport>& pairs);

/// {"pairs": […], "outcomes": {…}, "pause_seconds": {"min": …, "median": …, "max": …}}; null for what is not known.
nlohmann::json reports_to_json(const std::vector<PairReport>& pairs);

}  // namespace pgrm::agent
