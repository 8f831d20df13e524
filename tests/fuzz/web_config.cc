// A web configuration file in the format of exporter-toolkit.
#include "core/http/web_config.h"

#include "core/base/error.h"
#include "tests/fuzz/target.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pgrm;
  try {
    http::WebConfig::load(fuzz::file_with(fuzz::text_of(data, size)));
  } catch (const Error& error) {
    fuzz::require(error.code() == ErrorCode::configuration);
  }
  return 0;
}
