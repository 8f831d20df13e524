#include "agent/base/daily_window.h"

#include <fmt/format.h>

#include <ctime>
#include <regex>

#include "core/base/error.h"

namespace pgrm::agent {

bool DailyWindow::contains(WallTime at) const {
  const auto seconds = static_cast<std::time_t>(to_unix(at));
  std::tm local{};
  localtime_r(&seconds, &local);
  const int minute = local.tm_hour * 60 + local.tm_min;
  return from < to ? from <= minute && minute < to : from <= minute || minute < to;
}

std::string DailyWindow::text() const {
  return fmt::format("{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60);
}

DailyWindow parse_daily_window(const std::string& text) {
  static const std::regex form("([01]\\d|2[0-3]):([0-5]\\d)-([01]\\d|2[0-3]):([0-5]\\d)");
  std::smatch part;
  if (std::regex_match(text, part, form)) {
    const auto minutes = [&part](std::size_t at) { return std::stoi(part[at]) * 60 + std::stoi(part[at + 1]); };
    const DailyWindow window{minutes(1), minutes(3)};
    if (window.from != window.to) return window;
  }
  throw Error(ErrorCode::configuration, fmt::format("WINDOW is \"{}\", expected: two times of the day", text),
              "for example 02:00-04:00");
}

}  // namespace pgrm::agent
