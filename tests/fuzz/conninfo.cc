// A connection string: of a person, of an environment, of primary_conninfo on a server.
#include "core/pg/conninfo.h"

#include "core/base/error.h"
#include "tests/fuzz/target.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pgrm;
  try {
    const Conninfo server = Conninfo::parse(std::string(fuzz::text_of(data, size)));
    const std::string text = server.text().reveal();
    fuzz::require(Conninfo::parse(text).text().reveal() == text);  // what libpq is given means the same
    fuzz::require(server.describe() == server.without("password").describe());
    server.address();
  } catch (const Error&) {
  }
  return 0;
}
