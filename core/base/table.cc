#include "core/base/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <ostream>

#include "core/base/json_text.h"

namespace pgrm {

std::string to_markdown(const Table& table) {
  std::string head = "|", rule = "|";
  for (const Table::Column& column : table.columns) {
    head += fmt::format(" {} |", column.name);
    rule += "---|";
  }
  std::string text = head + "\n" + rule + "\n";
  for (const auto& row : table.rows) {
    text += '|';
    for (std::size_t i = 0; i < row.size(); ++i) {
      text += table.columns[i].code ? fmt::format(" `{}` |", row[i]) : fmt::format(" {} |", row[i]);
    }
    text += '\n';
  }
  return text;
}

std::string to_text(const Table& table) {
  std::vector<std::size_t> widths(table.columns.size());
  for (const auto& row : table.rows) {
    for (std::size_t i = 0; i + 1 < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : table.rows) {
    for (std::size_t i = 0; i < row.size(); ++i) text += fmt::format("{}{:{}}", i == 0 ? "" : "  ", row[i], widths[i]);
    text += '\n';
  }
  return text;
}

static std::string unmarked(std::string text) {
  std::erase(text, '`');
  for (std::size_t at = 0; (at = text.find("**", at)) != std::string::npos;) text.erase(at, 2);
  return text;
}

nlohmann::json to_json(const Table& table) {
  nlohmann::json lines = nlohmann::json::array();
  for (const auto& row : table.rows) {
    nlohmann::json line;
    for (std::size_t i = 0; i < row.size(); ++i) line[std::string(table.columns[i].name)] = unmarked(row[i]);
    lines.push_back(std::move(line));
  }
  return lines;
}

void print_catalogue(std::ostream& out, const Table& catalogue, bool markdown, bool json) {
  if (json) {
    out << json_text({{"metrics", to_json(catalogue)}}, 2) << '\n';
  } else {
    out << (markdown ? to_markdown(catalogue) : to_text(catalogue));
  }
}

}  // namespace pgrm
