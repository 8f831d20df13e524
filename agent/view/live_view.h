// A cutover on a terminal: roles, lag and steps, drawn in place while it runs.
#pragma once

#include <iosfwd>
#include <string>
#include <thread>

#include "agent/engine/progress.h"
#include "agent/view/pair_watch.h"

namespace pgrm::agent {

/// Draws ten times a second, on a thread of its own, from construction to destruction, and then leaves `title` and one
/// plain line a step behind, as they stand in a pipe. Nothing else may write to the terminal meanwhile: progress itself
/// is silent.
class LiveView {
 public:
  /// `progress` and `watch` must outlive it.
  LiveView(std::ostream& out, std::string title, Progress& progress, const PairWatch& watch, const Clock& clock);
  ~LiveView();
  LiveView(const LiveView&) = delete;
  LiveView& operator=(const LiveView&) = delete;

 private:
  void run(const std::stop_token& stop);

  std::ostream& out_;
  const std::string title_;
  Progress& progress_;
  const PairWatch& watch_;
  const Clock& clock_;
  std::jthread thread_;  // last: it uses all of the above
};

}  // namespace pgrm::agent
