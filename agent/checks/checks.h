// The preflight: one row and one function for each thing that must hold before a cutover.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/checks/facts.h"
#include "agent/checks/verdict.h"

namespace pgrm::agent {

/// What a check cannot do without. When it is missing, the verdict is unknown and says so.
enum Needs : unsigned { nothing = 0, primary = 1, replica = 2, both = 3, exporter = 4, databases = 8 };

struct Check {
  std::string_view group;
  std::string_view name;  // stable: reports, metrics
  std::string_view why;
  unsigned needs;
  Verdict (*judge)(const Facts&);
};

/// In the order in which they are explained.
std::span<const Check> checks();

struct Finding {
  const Check* check;
  Verdict verdict;
};

/// Every check, judged; in the order of the table.
std::vector<Finding> judge(const Facts& facts);

/// True when no finding refuses the cutover.
bool passed(const std::vector<Finding>& findings);

/// In a sentence: how many there are, and which of them refuse or warn.
std::string sum_up(const std::vector<Finding>& findings);

}  // namespace pgrm::agent
