// The agent's tables, for people and programs.
#pragma once

#include <iosfwd>
#include <nlohmann/json.hpp>

namespace pgrm::agent {

/// Tables of checks, steps, recovery, exit codes and metrics, as Markdown.
void explain(std::ostream& out);

/// The same: {"checks": […], "steps": […], "recovery": […], "exit_codes": […], "metrics": […]}.
nlohmann::json explain_json();

}  // namespace pgrm::agent
