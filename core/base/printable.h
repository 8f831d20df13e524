// Text from outside, for a terminal or one line of a log.
#pragma once

#include <cstddef>
#include <string>

namespace pgrm {

/// Control characters become blanks, those of ISO 8859 (U+0080 to U+009F) too: a name may have an end of line or an
/// escape sequence in it.
inline std::string printable(std::string text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x20 || byte == 0x7F) text[i] = ' ';
    const auto next = static_cast<unsigned char>(i + 1 < text.size() ? text[i + 1] : 0);
    if (byte == 0xC2 && next >= 0x80 && next <= 0x9F) text[i] = text[i + 1] = ' ';
  }
  return text;
}

}  // namespace pgrm
