#include "agent/view/screen.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <ostream>
#include <utility>

#include "core/base/printable.h"

namespace pgrm::agent {
namespace {

std::string_view environment(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

/// The first `count` characters of `text`; takes what it used from `count`.
std::string take(std::string_view text, std::size_t& count) {
  std::string taken;
  for (const char c : text) {
    if (!is_continuation(c)) {
      if (count == 0) break;
      --count;
    }
    taken += c;
  }
  return printable(std::move(taken));
}

}  // namespace

Style Style::of_terminal() {
  Style style;
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0) style.width = size.ws_col;
  style.colour = isatty(STDOUT_FILENO) != 0 && environment("NO_COLOR").empty() && environment("TERM") != "dumb";
  // As setlocale() would decide: the first of these that is set.
  for (const char* const name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const std::string_view locale = environment(name);
    if (locale.empty()) continue;
    style.unicode = locale.find("UTF-8") != locale.npos || locale.find("utf8") != locale.npos;
    break;
  }
  return style;
}

Line& Line::add(std::string text, std::string_view sgr) {
  if (!text.empty()) pieces_.push_back({std::move(text), sgr});
  return *this;
}

std::string Line::render(const Style& style) const {
  std::string rendered;
  std::size_t left = style.width == 0 ? std::string::npos : style.width;
  for (const auto& [text, sgr] : pieces_) {
    const std::string taken = take(text, left);
    rendered += style.colour && !sgr.empty() ? fmt::format("\033[{}m{}\033[0m", sgr, taken) : taken;
  }
  return rendered;
}

Lines columns(const std::vector<std::vector<Cell>>& rows) {
  const auto width = [](const Cell& cell) {
    return static_cast<std::size_t>(std::ranges::count_if(cell.text, [](char c) { return !is_continuation(c); }));
  };
  std::vector<std::size_t> widths(rows.empty() ? 0 : rows.front().size());
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
  }
  Lines lines;
  for (const auto& row : rows) {
    Line line;
    std::size_t gap = 0;  // behind the cell before; nothing stands behind the last one that says something
    for (std::size_t i = 0; i < row.size(); ++i) {
      gap += 2;
      if (!row[i].text.empty()) line.add(std::string(std::exchange(gap, 0), ' ')).add(row[i].text, row[i].sgr);
      gap += widths[i] - width(row[i]);
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

std::string sparkline(const std::vector<std::int64_t>& values, const Style& style) {
  static constexpr std::array<std::string_view, 8> blocks{"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  static constexpr std::array<std::string_view, 8> letters{"_", ".", "-", "~", "=", "+", "*", "#"};
  const auto& marks = style.unicode ? blocks : letters;
  const std::int64_t most = values.empty() ? 0 : std::ranges::max(values);
  std::string line;
  for (const std::int64_t value : values) {
    const double share = most > 0 ? static_cast<double>(value) / static_cast<double>(most) : 0;
    const auto level = value <= 0 ? 0 : std::max<std::size_t>(1, static_cast<std::size_t>(std::lround(share * 7)));
    line += marks.at(std::min<std::size_t>(level, marks.size() - 1));
  }
  return line;
}

void Block::draw(const Lines& lines, const Style& style) {
  // In one write, from the first line down, each line cleared behind its text: nothing flickers.
  std::string frame = drawn_ > 0 ? fmt::format("\033[{}F", drawn_) : "\r";
  for (const Line& line : lines) frame += line.render(style) + "\033[K\n";
  frame += "\033[J";
  drawn_ = lines.size();
  out_ << frame << std::flush;
}

void Block::erase() {
  if (drawn_ > 0) out_ << fmt::format("\033[{}F\033[J", drawn_) << std::flush;
  drawn_ = 0;
}

}  // namespace pgrm::agent
