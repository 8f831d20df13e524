// A table that a program explains itself with: as Markdown for the docs, as text for a person, as JSON for a program.
#pragma once

#include <iosfwd>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace pgrm {

struct Table {
  struct Column {
    std::string_view name;
    bool code = false;  // `so` in Markdown
  };

  std::vector<Column> columns;
  std::vector<std::vector<std::string>> rows;  // each as long as `columns`; no '|'
};

/// Header and lines, each ended.
std::string to_markdown(const Table& table);

/// Columns two blanks apart, without a header; the last one is as long as it is.
std::string to_text(const Table& table);

/// [{"name": "…", …}, …], with the columns' names. Marks of Markdown in a cell (`, **) are left out.
nlohmann::json to_json(const Table& table);

/// A catalogue of metrics as a command prints it: as text, or in one of the other forms. JSON: {"metrics": […]}.
void print_catalogue(std::ostream& out, const Table& catalogue, bool markdown, bool json);

}  // namespace pgrm
