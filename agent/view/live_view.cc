#include "agent/view/live_view.h"

#include <ostream>
#include <utility>

#include "agent/view/screen.h"
#include "agent/view/status_view.h"

namespace pgrm::agent {

LiveView::LiveView(std::ostream& out, std::string title, Progress& progress, const PairWatch& watch, const Clock& clock)
    : out_(out), title_(std::move(title)), progress_(progress), watch_(watch), clock_(clock) {
  progress_.yield_terminal(true);
  thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
}

LiveView::~LiveView() {
  thread_.request_stop();
  thread_.join();
  progress_.yield_terminal(false);
  const Style style = Style::of_terminal();
  out_ << title_ << '\n';
  for (const StepStanding& step : progress_.standing().steps) {
    out_ << step_line(step, clock_.now(), style.colour) << '\n';
  }
  out_ << std::flush;
}

void LiveView::run(const std::stop_token& stop) {
  Block block(out_);
  do {
    const Style style = Style::of_terminal();
    const auto snapshot = watch_.latest();
    block.draw(
        cutover_lines(title_, progress_.standing(), snapshot.get(), progress_.lag().points(), clock_.now(), style),
        style);
  } while (!clock_.sleep_for(std::chrono::milliseconds(100), stop));
  block.erase();
}

}  // namespace pgrm::agent
