// The journal of a cutover whose machine has lost power.
#include "agent/engine/journal.h"

#include "core/base/error.h"
#include "tests/fuzz/target.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pgrm;
  const std::string_view text = fuzz::text_of(data, size);
  try {
    const auto records = agent::parse_journal(text);
    const std::size_t whole = text.rfind('\n');
    // A torn last line changes nothing of what stands before it.
    if (whole != std::string_view::npos) {
      fuzz::require(agent::parse_journal(text.substr(0, whole + 1)).size() == records.size());
    }
  } catch (const Error&) {
  }
  return 0;
}
