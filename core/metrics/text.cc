#include "core/metrics/text.h"

#include <fmt/format.h>

#include <cmath>
#include <iterator>

namespace pgrm::metrics {
namespace {

void append_label(std::string& text, std::string_view name, std::string_view value) {
  text += name;
  text += "=\"";
  for (const char c : value) {
    if (c == '\n') {
      text += "\\n";
      continue;
    }
    if (c == '"' || c == '\\') text += '\\';
    text += c;
  }
  text += '"';
}

void append_value(std::string& text, double value) {
  constexpr double exact = 9007199254740992.0;  // 2^53
  if (std::isnan(value)) {
    text += "NaN";
  } else if (std::isinf(value)) {
    text += value > 0 ? "+Inf" : "-Inf";
  } else if (std::abs(value) < exact && value == std::trunc(value)) {
    fmt::format_to(std::back_inserter(text), "{}", static_cast<long long>(value));
  } else {
    fmt::format_to(std::back_inserter(text), "{}", value);
  }
}

}  // namespace

std::string label_text(const Labels& labels) {
  std::string text;
  for (const auto& [name, value] : labels) {
    if (!text.empty()) text += ',';
    append_label(text, name, value);
  }
  return text;
}

void Text::family(std::string_view name, std::string_view help, std::string_view type) {
  name_ = name;
  header_ = fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

void Text::series(std::string_view labels, const Labels& more, double value) {
  text_ += header_;
  header_.clear();
  text_ += name_;
  if (!labels.empty() || !more.empty()) {
    text_ += '{';
    text_ += labels;
    bool first = labels.empty();
    for (const auto& [name, label] : more) {
      if (!first) text_ += ',';
      append_label(text_, name, label);
      first = false;
    }
    text_ += '}';
  }
  text_ += ' ';
  append_value(text_, value);
  text_ += '\n';
}

}  // namespace pgrm::metrics
