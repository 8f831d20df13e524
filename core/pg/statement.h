// SQL as it is written down and sent.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace pgrm {

/// SQL under a name that is unique in the program: prepared on its first use in each session, unless a pooler in
/// between loses prepared statements; from the first that is lost on, that session sends texts.
struct Statement {
  const char* name;
  const char* sql;
};

using Value = std::optional<std::string>;  // nullopt is SQL NULL
using Params = std::vector<Value>;

/// Is told every text before it is sent to a server, from whatever thread.
using OnStatement = std::function<void(const std::string& sql)>;

}  // namespace pgrm
