#include "core/pg/orders.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

namespace pgrm::orders {

std::string words_of(Began began) {
  static constexpr std::array words{"whenever", "before reload", "in databases"};
  return words[static_cast<std::size_t>(began)];
}

std::string array_of(const std::vector<std::string>& texts) {
  std::string array = "{";
  for (const std::string& text : texts) {
    if (array.size() > 1) array += ',';
    array += '"';
    for (const char c : text) {
      if (c == '"' || c == '\\') array += '\\';
      array += c;
    }
    array += '"';
  }
  return array + "}";
}

std::string alter_system(std::string_view setting, const std::optional<std::string>& literal) {
  return literal ? fmt::format("ALTER SYSTEM SET {} = {}", setting, *literal)
                 : fmt::format("ALTER SYSTEM RESET {}", setting);
}

std::string allow_connections(std::string_view database, bool allow) {
  return fmt::format("ALTER DATABASE {} ALLOW_CONNECTIONS {}", database, allow);
}

std::string enable_subscription(std::string_view subscription, bool enable) {
  return fmt::format("ALTER SUBSCRIPTION {} {}", subscription, enable ? "ENABLE" : "DISABLE");
}

std::string set_marker(const std::optional<std::string>& literal) {
  return literal ? "ALTER ROLE CURRENT_USER SET pgrm.cutover = " + *literal
                 : "ALTER ROLE CURRENT_USER RESET pgrm.cutover";
}

std::string reload_and_end_sessions(std::string_view databases) {
  return fmt::format("{}; EXECUTE {} ('{}', {}, '{{}}')", reload.sql, client_sessions.name,
                     words_of(Began::in_databases), databases);
}

std::string write_and_read(std::string_view cutover_id) {
  return fmt::format("BEGIN; EXECUTE {}({}); COMMIT; EXECUTE {}({})", probe.name, cutover_id, probe_present.name,
                     cutover_id);
}

std::string in_one_transaction(const std::vector<std::string>& orders, Duration deadline) {
  const auto patience =
      std::max<std::int64_t>(1, std::chrono::duration_cast<std::chrono::milliseconds>(deadline).count() * 4 / 5);
  return fmt::format(
      "SET TRANSACTION READ WRITE; SET LOCAL synchronous_commit = local; SET LOCAL lock_timeout = {0}; "
      "SET LOCAL statement_timeout = {0}; {1}",
      patience, fmt::join(orders, "; "));
}

std::string and_back(const std::vector<std::string>& orders, Duration deadline) {
  return fmt::format("BEGIN; {}; ROLLBACK", in_one_transaction(orders, deadline));
}

std::vector<std::string> attack(const Attack& how) {
  return {how.overrides_read_only ? "BEGIN READ WRITE" : "BEGIN",
          how.writes ? "INSERT INTO pgrm.cutover_probe (cutover) VALUES ('attack')" : "SHOW transaction_read_only"};
}

}  // namespace pgrm::orders
