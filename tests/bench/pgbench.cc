#include "tests/bench/pgbench.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace pgrm::bench {
namespace {

using loadgen::Operation;

constexpr int most_items = 5;

constexpr auto number_sql =
    "\\set n :n + 1\n"
    "\\set number :client_id * 1000000000 + :n\n";
constexpr auto position_sql = "\\set position random(0, 999999999) / 1000000000.0\n";

/// Parameters $3 and up of an operation, as expressions; `set` makes the variables in them.
struct Binding {
  std::string_view operation;
  std::string set;
  std::vector<std::string> values;
};

const std::vector<Binding>& bindings() {
  static const std::vector<Binding> table{
      {"insert_user", "", {":full_name", ":city"}},
      {"insert_product",
       "\\set price random(100, 49999) / 100.0\n\\set stock random(0, 1000)\n",
       {":product", ":category", ":price", ":stock"}},
      {"update_user", position_sql, {":position", ":full_name", ":city"}},
      {"update_stock", std::string(position_sql) + "\\set delta random(-10, 10)\n", {":position", ":delta"}},
      {"update_order_status", position_sql, {":position", ":status"}},
      {"soft_delete_user", position_sql, {":position"}},
      {"purge_audit_log", "", {}},
  };
  return table;
}

Binding order_of(int items) {
  Binding binding{"insert_order", position_sql, {":position"}};
  std::string positions;
  std::string quantities;
  for (int item = 0; item < items; ++item) {
    binding.set += fmt::format("\\set p{0} random(0, 999999999) / 1000000000.0\n\\set q{0} random(1, 4)\n", item);
    positions += fmt::format("{}:p{}", item == 0 ? "" : ", ", item);
    quantities += fmt::format("{}:q{}", item == 0 ? "" : ", ", item);
  }
  binding.values.push_back("ARRAY[" + positions + "]");
  binding.values.push_back("ARRAY[" + quantities + "]");
  return binding;
}

void replace_all(std::string& text, const std::string& what, const std::string& with) {
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += with.size()) {
    text.replace(at, what.size(), with);
  }
}

std::string script_of(const Operation& operation, const Binding& binding) {
  std::string sql = operation.statement.sql;
  std::vector<std::string> values{":run", ":number"};
  values.insert(values.end(), binding.values.begin(), binding.values.end());
  for (std::size_t i = values.size(); i > 0; --i) replace_all(sql, fmt::format("${}", i), values[i - 1]);
  if (sql.find('$') != std::string::npos) {
    throw std::runtime_error(fmt::format("{} has a parameter that pgbench.cc does not bind", operation.name));
  }
  while (!sql.empty() && sql.back() == '\n') sql.pop_back();
  return number_sql + binding.set + sql + ";\n";
}

}  // namespace

std::vector<Script> scripts_of(const loadgen::Mix& mix) {
  std::vector<Script> scripts;
  for (const Operation& operation : loadgen::operations) {
    int shares = 0;
    for (const Operation& other : loadgen::operations) shares += other.kind == operation.kind ? other.share : 0;
    // Whole numbers in the right proportions: every sum of shares and the number of items divide 1,000.
    const int weight = 1000 / shares * mix[index_of(operation.kind)] * operation.share;
    if (std::string_view(operation.name) == "insert_order") {
      for (int items = 1; items <= most_items; ++items) {
        scripts.push_back({script_of(operation, order_of(items)), weight / most_items});
      }
      continue;
    }
    const auto binding = std::ranges::find(bindings(), operation.name, &Binding::operation);
    if (binding == bindings().end()) throw std::runtime_error(fmt::format("pgbench.cc lacks {}", operation.name));
    scripts.push_back({script_of(operation, *binding), weight});
  }
  return scripts;
}

std::vector<std::string> constants(const std::string& run) {
  std::vector<std::string> arguments;
  for (const char* const value :
       {"n=0", "full_name=Ada Abebe", "city=Accra", "product=Blue novel", "category=books", "status=paid"}) {
    arguments.insert(arguments.end(), {"-D", value});
  }
  arguments.insert(arguments.end(), {"-D", "run=" + run});
  return arguments;
}

std::vector<double> latencies_in_logs(const std::string& prefix) {
  const std::filesystem::path path(prefix);
  std::vector<double> seconds;
  for (const auto& entry : std::filesystem::directory_iterator(path.parent_path())) {
    if (!entry.path().filename().string().starts_with(path.filename().string() + ".")) continue;
    std::ifstream file(entry.path());
    for (std::string line; std::getline(file, line);) {
      std::istringstream words(line);
      std::string client;
      std::string transaction;
      double microseconds = 0;
      if (words >> client >> transaction >> microseconds) seconds.push_back(microseconds / 1e6);
    }
  }
  std::ranges::sort(seconds);
  return seconds;
}

}  // namespace pgrm::bench
