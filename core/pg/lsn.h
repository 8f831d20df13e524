// A position in the write-ahead log (pg_lsn).
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

namespace pgrm {

/// Ordered and cheap to copy. There is no "invalid" value: a position that is not known is std::nullopt of it.
class Lsn {
 public:
  constexpr explicit Lsn(std::uint64_t bytes) : bytes_(bytes) {}
  /// "16/B374D848" as PostgreSQL prints it. Throws Error(query_failed) on anything else.
  static Lsn parse(std::string_view text);

  constexpr std::uint64_t bytes() const { return bytes_; }
  std::string to_string() const;

  friend constexpr auto operator<=>(Lsn, Lsn) = default;  // NOLINT(modernize-use-nullptr): version 14 misreads it
  /// Bytes from `from` to `to`: negative when `to` is behind.
  friend constexpr std::int64_t distance(Lsn from, Lsn to) {
    return static_cast<std::int64_t>(to.bytes_ - from.bytes_);
  }

 private:
  std::uint64_t bytes_;
};

}  // namespace pgrm
