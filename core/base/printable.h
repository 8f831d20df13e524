// Text of somebody else's for a terminal or for one line of a log.
#pragma once

#include <algorithm>
#include <string>

namespace pgrm {

/// Control characters become blanks: a name may have an end of line in it, or an order to the terminal.
inline std::string printable(std::string text) {
  std::ranges::replace_if(
      text, [](unsigned char c) { return c < 0x20 || c == 0x7F; }, ' ');
  return text;
}

}  // namespace pgrm
