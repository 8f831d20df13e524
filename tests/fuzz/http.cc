// The head of an HTTP request, as anybody who reaches the port can send it.
#include "core/http/message.h"

#include "core/http/web_config.h"
#include "tests/fuzz/target.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pgrm;
  try {
    const http::Head head = http::parse_head(fuzz::text_of(data, size));
    fuzz::require(!head.method.empty() && head.path.find('?') == std::string::npos);
    fuzz::require(http::body_length(head, 1000) <= 1000);
    http::accepts_gzip(head);
    if (const auto authorization = head.header("authorization")) http::basic_credentials(*authorization);
  } catch (const http::Refusal& refusal) {
    fuzz::require(refusal.status >= 400 && refusal.status < 600 && !refusal.text.empty());
  }
  return 0;
}
