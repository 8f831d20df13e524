// Latencies, counted in buckets whose width is less than 1 % of their value (like HdrHistogram with two digits, whose C
// library is packaged by neither Debian 12 nor 13 nor Ubuntu 24.04).
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "core/base/clock.h"

namespace pgrm::loadgen {

/// From 1 ns to 9 hours in 40 KB; what is shorter or longer counts as that. Not thread-safe.
class Histogram {
 public:
  void record(Duration value) {
    const std::uint64_t nanoseconds = clamp(value);
    ++counts_[bucket_of(nanoseconds)];
    ++count_;
    sum_ += nanoseconds;
  }

  Histogram& operator+=(const Histogram& other) {
    for (std::size_t i = 0; i < buckets; ++i) counts_[i] += other.counts_[i];
    count_ += other.count_;
    sum_ += other.sum_;
    return *this;
  }
  /// What was recorded since `earlier`, an older copy of this one.
  Histogram since(const Histogram& earlier) const {
    Histogram result = *this;
    for (std::size_t i = 0; i < buckets; ++i) result.counts_[i] -= earlier.counts_[i];
    result.count_ -= earlier.count_;
    result.sum_ -= earlier.sum_;
    return result;
  }

  std::uint64_t count() const { return count_; }
  Duration sum() const { return std::chrono::nanoseconds(sum_); }

  /// The smallest value that at least `share` of the values do not exceed, rounded up to its bucket's end; 0 when
  /// empty.
  Duration quantile(double share) const {
    const auto wanted = static_cast<std::uint64_t>(share * static_cast<double>(count_) + 0.999999);
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < buckets; ++i) {
      seen += counts_[i];
      if (seen > 0 && seen >= wanted) return std::chrono::nanoseconds(end_of(i));
    }
    return {};
  }
  Duration max() const { return quantile(1); }

  /// How many values lie in buckets that end at `limit` or before.
  std::uint64_t at_most(Duration limit) const {
    const std::uint64_t nanoseconds = clamp(limit);
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < buckets && end_of(i) <= nanoseconds; ++i) seen += counts_[i];
    return seen;
  }

 private:
  // Values below 2^8 have a bucket each; above, every power of two is cut into 2^7 buckets.
  static constexpr int exact_bits = 8;
  static constexpr int value_bits = 45;
  static constexpr std::uint64_t exact = 1U << exact_bits;
  static constexpr std::uint64_t half = exact / 2;
  static constexpr std::size_t buckets = exact + (value_bits - exact_bits) * half;

  static std::uint64_t clamp(Duration value) {
    const auto nanoseconds = std::chrono::duration_cast<std::chrono::nanoseconds>(value).count();
    if (nanoseconds < 0) return 0;
    return std::min(static_cast<std::uint64_t>(nanoseconds), (std::uint64_t{1} << value_bits) - 1);
  }
  static std::size_t bucket_of(std::uint64_t value) {
    if (value < exact) return static_cast<std::size_t>(value);
    const int shift = static_cast<int>(std::bit_width(value)) - exact_bits;
    return exact + static_cast<std::size_t>(shift - 1) * half + static_cast<std::size_t>((value >> shift) - half);
  }
  /// The largest value that falls into bucket `index`.
  static std::uint64_t end_of(std::size_t index) {
    if (index < exact) return index;
    const std::size_t shift = (index - exact) / half + 1;
    const std::uint64_t top = (index - exact) % half + half;
    return ((top + 1) << shift) - 1;
  }

  std::array<std::uint64_t, buckets> counts_{};
  std::uint64_t count_ = 0;
  std::uint64_t sum_ = 0;
};

/// All of them as one.
inline Histogram sum_of(std::span<const Histogram> parts) {
  Histogram all;
  for (const Histogram& part : parts) all += part;
  return all;
}

}  // namespace pgrm::loadgen
