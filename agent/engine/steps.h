// The cutover as a table: one row a step, in order.
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>

namespace pgrm::agent {

struct Cutover;

enum class Seen { not_done, done, unclear };

struct Look {
  Seen seen;
  std::string text;  // what is there, and what the step would do
};

struct Step {
  std::string_view name;  // stable: journal, command line, logs, metrics
  std::string_view why;
  bool mutates;     // changes something that undo must restore
  bool commits;     // the one point of no return
  bool in_dry_run;  // only reads, so that a dry run does it for real
  /// Observes the servers, not memory; changes nothing. Throws Error.
  Look (*look)(Cutover&);
  /// What `undo` has to restore, recorded before `run`; nullptr: nothing.
  nlohmann::json (*before)(Cutover&);
  /// Idempotent. Returns the evidence, one line. Throws Error.
  std::string (*run)(Cutover&);
  /// Idempotent, and safe after a `run` that failed half-way; nullptr: nothing to undo. Throws Error.
  void (*undo)(Cutover&, const nlohmann::json& before);
};

std::span<const Step> steps();

/// Tells a new agent what the one that died had found out: `before` as recorded for `step`.
void recall(Cutover& cutover, std::string_view step, const nlohmann::json& before);

/// Holds for steps(), see steps_test.cc: unique names, exactly one commits, an undo for every mutating step before it,
/// nothing in a dry run that mutates.
constexpr bool well_formed(std::span<const Step> steps) {
  int commits = 0;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const Step& step = steps[i];
    if (step.commits) ++commits;
    if (step.mutates && commits == 0 && step.undo == nullptr) return false;
    if (step.in_dry_run && (step.mutates || step.commits)) return false;
    if (step.look == nullptr || step.run == nullptr) return false;
    for (std::size_t j = 0; j < i; ++j) {
      if (steps[j].name == step.name) return false;
    }
  }
  return commits == 1;
}

}  // namespace pgrm::agent
