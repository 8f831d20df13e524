#include "agent/view/pairs_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "agent/view/report.h"

namespace pgrm::agent {
namespace {

std::ptrdiff_t refusals(const PairJudged& pair) {
  return std::ranges::count_if(pair.findings, [](const Finding& finding) { return refuses(finding.verdict.level); });
}

std::ptrdiff_t warnings(const PairJudged& pair) {
  return std::ranges::count(pair.findings, Level::warn, [](const Finding& finding) { return finding.verdict.level; });
}

/// What to look at first.
std::string first_words(const PairJudged& pair) {
  const auto worst =
      std::ranges::min_element(pair.findings, {}, [](const Finding& finding) { return finding.verdict.level; });
  const bool nothing = worst == pair.findings.end() || worst->verdict.level == Level::pass;
  if (!pair.message.empty() && (nothing || !refuses(worst->verdict.level))) return pair.message;
  return nothing ? "" : fmt::format("{}: {}", worst->check->name, worst->verdict.reason);
}

Cell verdict(const PairJudged& pair) {
  if (pair.exit_code != 0) return {std::string(headline(pair.exit_code)), red};
  return {"READY", warnings(pair) > 0 ? yellow : green};
}

}  // namespace

void sort_worst_first(std::vector<PairJudged>& pairs) {
  std::ranges::sort(pairs, {}, [](const PairJudged& pair) {
    return std::tuple(pair.exit_code == 0, -refusals(pair), -warnings(pair), std::string_view(pair.name));
  });
}

Lines pairs_table(const std::vector<PairJudged>& pairs) {
  const bool predicted = std::ranges::any_of(pairs, [](const PairJudged& pair) { return pair.pause.has_value(); });
  std::vector<std::vector<Cell>> rows{{{"pair"}, {"verdict"}, {"refuse"}, {"warn"}, {"what comes first"}}};
  for (const PairJudged& pair : pairs) {
    rows.push_back({{pair.name},
                    verdict(pair),
                    {std::to_string(refusals(pair))},
                    {std::to_string(warnings(pair))},
                    {first_words(pair)}});
  }
  if (predicted) {
    rows.front().insert(rows.front().begin() + 2, {"writes stop for"});
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      rows[i + 1].insert(rows[i + 1].begin() + 2, {pairs[i].pause ? human(*pairs[i].pause) : "?"});
    }
  }
  return columns(rows);
}

std::string pairs_total(const std::vector<PairJudged>& pairs) {
  const auto ready = std::ranges::count(pairs, 0, &PairJudged::exit_code);
  return fmt::format("{} of {} {} may be cut over", ready, pairs.size(), pairs.size() == 1 ? "pair" : "pairs");
}

}  // namespace pgrm::agent
