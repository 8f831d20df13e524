// JSON as text. What a server or an environment says may be in any encoding: that must not end a program.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace pgrm {

/// Never throws for text that is not UTF-8: such bytes become U+FFFD. `indent` < 0: one line.
inline std::string json_text(const nlohmann::json& value, int indent = -1) {
  return value.dump(indent, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// null for what is not known.
template <class T>
nlohmann::json or_null(const std::optional<T>& value) {
  return value ? nlohmann::json(*value) : nlohmann::json();
}

/// `text` with U+FFFD in place of bytes that are not UTF-8.
inline std::string valid_utf8(const std::string& text) {
  return nlohmann::json::parse(json_text(text)).get<std::string>();
}

}  // namespace pgrm
