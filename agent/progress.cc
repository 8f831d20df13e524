#include "agent/progress.h"

#include <fmt/format.h>

#include <array>
#include <ostream>

namespace pgrm::agent {
namespace {

struct Mark {
  std::string_view result, mark, colour;
};
constexpr std::array marks{
    Mark{"done", "ok", "32"},
    Mark{"failed", "FAILED", "31"},
    Mark{"undone", "undone", "33"},
    Mark{"looked", "would", "36"},
    Mark{"", "..", "2"},
};

const Mark& mark_of(std::string_view result) {
  for (const Mark& mark : marks) {
    if (mark.result == result) return mark;
  }
  return marks.back();
}

}  // namespace

void Progress::replace_line(const std::string& text) {
  *out_ << "\r\033[K" << text;
  line_open_ = true;
}

void Progress::begins(std::string_view step, std::string_view why) {
  if (out_ == nullptr) return;
  step_ = step;
  last_wait_.clear();
  if (terminal_) replace_line(fmt::format("  {:<8} {:<20} {}", "..", step, why));
  *out_ << std::flush;
}

void Progress::waits(const std::string& what) {
  if (out_ == nullptr || what == last_wait_) return;
  last_wait_ = what;
  const std::string line = fmt::format("  {:<8} {:<20} {}", "..", step_, what);
  if (terminal_) {
    replace_line(line);
  } else {
    *out_ << line << '\n';
  }
  *out_ << std::flush;
}

void Progress::ends(std::string_view result, Duration took, const std::string& evidence) {
  if (out_ == nullptr) return;
  const Mark& mark = mark_of(result);
  std::string shown = fmt::format("{:<8}", mark.mark);
  if (colour_) shown = fmt::format("\033[{}m{}\033[0m", mark.colour, shown);
  const std::string time = result == "looked" ? "" : human(took);
  const std::string line = fmt::format("  {} {:<20} {:>9}  {}", shown, step_, time, evidence);
  if (terminal_) {
    replace_line(line);
    line_open_ = false;
    *out_ << '\n';
  } else {
    *out_ << line << '\n';
  }
  *out_ << std::flush;
}

void Progress::says(const std::string& text) {
  if (out_ == nullptr) return;
  if (line_open_) *out_ << '\n';
  line_open_ = false;
  *out_ << text << '\n' << std::flush;
}

}  // namespace pgrm::agent
