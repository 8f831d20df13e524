// Functions of extensions that may be called without running anybody's own code.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/clock.h"

namespace pgrm {

class Session;

struct WantedFunction {
  std::string_view extension, name;
  std::string_view arguments;  // their types, separated by blanks: "boolean", "regclass text"
};

/// A function of an extension, as it is in this session's database.
struct ExtensionFunction {
  bool installed = false;  // the extension
  std::string name;        // qualified and quoted; empty unless catalogs prove that it is the extension's own C code
  bool may = false;        // this role may call it
  std::string grant;       // what would let it
  std::vector<std::string> columns{};  // names of its arguments and of what it returns

  bool usable() const { return may && !name.empty(); }
};

/// One answer for each wanted function, in their order. Throws as Session::execute() (pg_extension, pg_depend,
/// pg_proc).
std::vector<ExtensionFunction> find_extension_functions(Session& session, std::initializer_list<WantedFunction> wanted,
                                                        Duration deadline);

}  // namespace pgrm
