#include "agent/checks/checks.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "agent/checks/groups.h"

namespace pgrm::agent {
namespace {

std::string missing(const Check& check, const Facts& facts) {
  std::vector<std::string> parts;
  if ((check.needs & primary) != 0 && (!facts.sample.primary.state || !facts.primary.facts))
    parts.emplace_back("primary");
  if ((check.needs & replica) != 0 && (!facts.sample.replica.state || !facts.replica.facts))
    parts.emplace_back("replica");
  if ((check.needs & exporter) != 0 && !facts.exporter) parts.emplace_back("exporter");
  if ((check.needs & databases) != 0 && (!facts.primary.database || !facts.replica.database)) {
    const std::string& why = (facts.primary.database ? facts.replica : facts.primary).database_error;
    parts.push_back("application's database" + (why.empty() || !parts.empty() ? "" : " (" + why + ")"));
  }
  return fmt::format("{}", fmt::join(parts, " and "));
}

}  // namespace

std::span<const Check> checks() {
  static const std::vector<Check> all = [] {
    std::vector<Check> joined;
    for (const auto group : {identity_checks, replication_checks, fitness_checks, loss_checks, rights_checks}) {
      joined.insert(joined.end(), group().begin(), group().end());
    }
    return joined;
  }();
  return all;
}

std::vector<Finding> judge(const Facts& facts) {
  std::vector<Finding> findings;
  for (const Check& check : checks()) {
    const std::string lacking = missing(check, facts);
    findings.push_back(
        {&check, lacking.empty() ? check.judge(facts) : unknown("cannot be judged without the " + lacking)});
  }
  return findings;
}

std::string sum_up(const std::vector<Finding>& findings) {
  const auto named = [&](Level level) {
    std::vector<std::string_view> names;
    for (const Finding& finding : findings) {
      if (finding.verdict.level == level) names.push_back(finding.check->name);
    }
    return names;
  };
  const auto failed = named(Level::fail), unjudged = named(Level::unknown), warning = named(Level::warn);
  if (!failed.empty()) {
    return fmt::format("{} of {} checks refuse the cutover: {}{}", failed.size(), findings.size(),
                       fmt::join(failed, ", "),
                       unjudged.empty() ? "" : fmt::format("; {} cannot be judged", unjudged.size()));
  }
  if (!unjudged.empty()) {
    return fmt::format("{} of {} checks cannot be judged: {}", unjudged.size(), findings.size(),
                       fmt::join(unjudged, ", "));
  }
  return fmt::format(
      "{} checks passed{}", findings.size() - warning.size(),
      warning.empty() ? "" : fmt::format(", {} with a warning: {}", warning.size(), fmt::join(warning, ", ")));
}

bool passed(const std::vector<Finding>& findings) {
  return std::ranges::none_of(findings, [](const Finding& finding) { return refuses(finding.verdict.level); });
}

}  // namespace pgrm::agent
