// What a terminal needs: lines that fit, colour where it is wanted, a block of lines that is drawn again in place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/bytes.h"

namespace pgrm::agent {

struct Style {
  std::size_t width = 0;  // columns; 0: as long as it takes
  bool colour = false;
  bool unicode = false;  // may draw with more than ASCII

  /// For standard output: its size, NO_COLOR, the locale's character set.
  static Style of_terminal();
};

/// A line in the making: pieces of text, each with a colour (an SGR code, empty for none).
class Line {
 public:
  explicit Line(std::string text = {}) { add(std::move(text)); }
  Line& add(std::string text, std::string_view sgr = {});
  /// Cut to the style's width, by characters; control characters become blanks.
  std::string render(const Style& style) const;

 private:
  struct Piece {
    std::string text;
    std::string_view sgr;
  };
  std::vector<Piece> pieces_;
};

using Lines = std::vector<Line>;

struct Cell {
  std::string text;
  std::string_view sgr{};
};

/// A table: each column as wide as its widest cell, the last one as long as it is. REQUIRES: all rows are equally long.
Lines columns(const std::vector<std::vector<Cell>>& rows);

inline constexpr std::string_view green = "32", red = "31", yellow = "33", cyan = "36", bold = "1", dim = "2";

/// One column a value, scaled to the largest; a value above 0 is never shown as nothing.
std::string sparkline(const std::vector<std::int64_t>& values, const Style& style);

/// Lines at the bottom of a terminal that are drawn over and over. Whatever else writes to the terminal in between
/// spoils it.
class Block {
 public:
  explicit Block(std::ostream& out) : out_(out) {}
  void draw(const Lines& lines, const Style& style);
  /// Leaves nothing of it.
  void erase();

 private:
  std::ostream& out_;
  std::size_t drawn_ = 0;
};

}  // namespace pgrm::agent
