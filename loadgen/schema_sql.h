// schema.sql and guards.sql, as they were when the program was built.
#pragma once

#include <string>

namespace pgrm::loadgen {

extern const std::string schema_sql;
extern const std::string guards_sql;

}  // namespace pgrm::loadgen
