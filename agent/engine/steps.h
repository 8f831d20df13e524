// The cutover as a table: one row a step, in order.
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>

#include "core/base/clock.h"

namespace pgrm::agent {

struct Cutover;
struct Options;

struct Step {
  std::string_view name;  // stable: journal, command line, logs, metrics
  std::string_view why;
  bool mutates = false;     // changes something that undo must restore
  bool commits = false;     // the one point of no return
  bool in_dry_run = false;  // only reads, so that a dry run does it for real
  /// What the step would do, said from what is there. Changes nothing. Throws Error.
  std::string (*preview)(Cutover&) = nullptr;
  /// What `undo` has to restore, recorded before `run`; nullptr: nothing.
  nlohmann::json (*before)(Cutover&) = nullptr;
  /// The inverse of `before`, for an agent that carries on: tells the cutover what was recorded. nullptr: nothing.
  /// Throws nlohmann::json::exception.
  void (*recall)(Cutover&, const nlohmann::json& before) = nullptr;
  /// Idempotent. Returns the evidence, one line. Throws Error.
  std::string (*run)(Cutover&) = nullptr;
  /// Idempotent, and safe after a `run` that failed half-way; nullptr: nothing to undo. Throws Error.
  void (*undo)(Cutover&, const nlohmann::json& before) = nullptr;
  /// How long it may take until the guard ends the agent; nullptr: no limit, because the application writes
  /// again.
  Duration (*time_limit)(const Options&) = nullptr;
};

std::span<const Step> steps();

/// Holds for steps(), see steps_test.cc: unique names, exactly one commits, an undo for every mutating step before it,
/// nothing in a dry run that mutates.
constexpr bool well_formed(std::span<const Step> steps) {
  int commits = 0;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const Step& step = steps[i];
    if (step.commits) ++commits;
    if (step.mutates && commits == 0 && step.undo == nullptr) return false;
    if (step.in_dry_run && (step.mutates || step.commits)) return false;
    if (step.preview == nullptr || step.run == nullptr) return false;
    for (std::size_t j = 0; j < i; ++j) {
      if (steps[j].name == step.name) return false;
    }
  }
  return commits == 1;
}

}  // namespace pgrm::agent
