// What a check found out.
#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace pgrm::agent {

enum class Level { fail, unknown, warn, pass };  // worst first: the order in which they are shown

constexpr std::string_view to_string(Level level) {
  constexpr std::string_view names[] = {"fail", "unknown", "warn", "pass"};
  return names[static_cast<int>(level)];
}

struct Verdict {
  Level level;
  std::string reason;  // observed and required values
  std::string hint;    // what to type; empty for pass
};

inline Verdict pass(std::string reason) { return {Level::pass, std::move(reason), {}}; }
inline Verdict warn(std::string reason, std::string hint) { return {Level::warn, std::move(reason), std::move(hint)}; }
inline Verdict fail(std::string reason, std::string hint) { return {Level::fail, std::move(reason), std::move(hint)}; }
/// Could not be judged, which refuses a cutover as a failure does.
inline Verdict unknown(std::string reason) { return {Level::unknown, std::move(reason), {}}; }

inline bool refuses(Level level) { return level == Level::fail || level == Level::unknown; }

}  // namespace pgrm::agent
