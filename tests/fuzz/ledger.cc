// The ledger of acknowledged writes whose disk was full or whose machine has lost power.
#include "loadgen/ledger.h"

#include "core/base/error.h"
#include "tests/fuzz/target.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pgrm;
  const loadgen::LedgerReader reader{.run_began = [](std::int64_t) {},
                                     .outcome = [](std::int64_t, std::uint64_t, loadgen::Result) {},
                                     .run_ended = [](std::int64_t) {}};
  try {
    const auto content = loadgen::read_ledger(fuzz::file_with(fuzz::text_of(data, size)), reader);
    fuzz::require(content.whole_bytes + content.torn_bytes == size);
  } catch (const Error&) {
  }
  return 0;
}
