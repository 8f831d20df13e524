// A plan for people and for programs.
#pragma once

#include <iosfwd>
#include <nlohmann/json.hpp>
#include <string>

#include "agent/plan/plan.h"

namespace pgrm::agent {

nlohmann::json plan_to_json(const Cutover& planned, const Plan& plan, const Questions& questions);

/// `plan`: plan_to_json().
void print_plan(std::ostream& out, const nlohmann::json& plan);
/// The same as one HTML page that needs nothing else.
std::string plan_page(const nlohmann::json& plan);

}  // namespace pgrm::agent
