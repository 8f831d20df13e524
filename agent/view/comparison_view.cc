#include "agent/view/comparison_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <ostream>

namespace pgrm::agent {
namespace {

std::string length_of(const std::optional<double>& seconds) {
  return seconds ? human(from_seconds(*seconds)) : "of unknown length";
}

std::string times(const std::optional<double>& ratio) { return ratio ? fmt::format("x {:.2f}", *ratio) : ""; }

void print_measures(std::ostream& out, const Comparison& comparison) {
  out << fmt::format("  {:<32} {:>12} {:>12} {:>9}  {}\n", "", "before", "after", "", "");
  for (const Measure& measure : comparison.measures) {
    if (!measure.before && !measure.after) continue;
    out << fmt::format("  {:<32} {:>12} {:>12} {:>9}  {}\n", measure.name, shown(measure.before, measure.unit),
                       shown(measure.after, measure.unit), times(measure.ratio()), to_string(measure.judgement));
  }
}

/// What fits beside the figures, cut at a whole character of UTF-8.
std::string beginning_of(const std::string& text) {
  constexpr std::size_t longest = 90;
  if (text.size() <= longest) return text;
  std::size_t end = longest;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0U) == 0x80U) --end;
  return text.substr(0, end) + " …";
}

void print_statements(std::ostream& out, const Comparison& comparison) {
  constexpr std::size_t most = 10;
  if (comparison.statements.empty()) return;
  const auto slower = std::ranges::count(comparison.statements, Judgement::worse, &StatementChange::judgement);
  out << fmt::format("\n  {} of {} statements got slower by more than {:g} times\n", slower,
                     comparison.statements.size(), slower_factor);
  std::size_t printed = 0;
  for (const StatementChange& one : comparison.statements) {
    if (printed++ == most) break;
    const std::string text = one.text.empty() ? fmt::format("queryid {}", one.id) : beginning_of(one.text);
    out << fmt::format("  {:<7} {:>10} {:>10} {:>9}  {}\n", to_string(one.judgement), shown(one.mean_before(), "ms"),
                       shown(one.mean_after(), "ms"), fmt::format("x {:.2f}", one.ratio()), text);
    if (!one.cause.empty()) out << fmt::format("  {:<7} {:>10} {:>10} {:>9}  {}\n", "", "", "", "", one.cause);
  }
}

void print_settings(std::ostream& out, const Comparison& comparison) {
  if (comparison.settings.empty()) return;
  out << "\n  settings that differ\n";
  for (const SettingChange& one : comparison.settings) {
    out << fmt::format("  {:<32} {:>12} {:>12}\n", one.name, one.before.empty() ? "-" : one.before,
                       one.after.empty() ? "-" : one.after);
  }
}

}  // namespace

void print_comparison(std::ostream& out, const Comparison& comparison) {
  out << comparison.line << "\n\n"
      << fmt::format("  windows: {} before, {} after\n", length_of(comparison.before_seconds),
                     length_of(comparison.after_seconds));
  print_measures(out, comparison);
  print_statements(out, comparison);
  print_settings(out, comparison);
  if (!comparison.notes.empty()) out << '\n';
  for (const std::string& note : comparison.notes) out << "  note: " << note << '\n';
}

}  // namespace pgrm::agent
