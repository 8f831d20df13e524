#include "core/pg/lsn.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>

#include "core/base/error.h"

namespace pgrm {
namespace {

std::optional<std::uint32_t> parse_half(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

Lsn Lsn::parse(std::string_view text) {
  const std::size_t slash = text.find('/');
  if (slash != std::string_view::npos) {
    const auto high = parse_half(text.substr(0, slash));
    const auto low = parse_half(text.substr(slash + 1));
    if (high && low) return Lsn(std::uint64_t{*high} << 32 | *low);
  }
  throw Error(ErrorCode::query_failed, fmt::format("\"{}\" is no WAL position, expected one like 16/B374D848", text));
}

std::string Lsn::to_string() const { return fmt::format("{:X}/{:X}", bytes_ >> 32, bytes_ & 0xFFFFFFFF); }

}  // namespace pgrm
