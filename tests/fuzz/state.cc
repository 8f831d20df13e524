// What an exporter answers, or whoever answers at its address.
#include "core/base/error.h"
#include "core/replication/json.h"
#include "tests/fuzz/target.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pgrm;
  try {
    state_from_json(std::string(fuzz::text_of(data, size)));
  } catch (const Error& error) {
    fuzz::require(error.code() == ErrorCode::http_failed);
  }
  return 0;
}
