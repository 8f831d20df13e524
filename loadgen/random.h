// Random numbers that depend on nothing but a seed and a stream: operation 17 of two runs with one seed is the same.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace pgrm::loadgen {

/// splitmix64 (Steele, Lea, Flood 2014): one addition and three multiplications for a number, no state to warm up.
class Random {
 public:
  Random(std::uint64_t seed, std::uint64_t stream) : state_(mix(seed) ^ stream * 0xD1B54A32D192ED03) {}

  std::uint64_t next() {
    state_ += 0x9E3779B97F4A7C15;
    return mix(state_);
  }
  /// In [0, 1).
  double unit() { return static_cast<double>(next() >> 11) * 0x1p-53; }
  /// In [0, bound). REQUIRES: bound > 0. The bias is below bound / 2^64.
  std::uint64_t below(std::uint64_t bound) { return next() % bound; }
  /// In [low, high].
  int between(int low, int high) { return low + static_cast<int>(below(static_cast<std::uint64_t>(high - low) + 1)); }
  template <typename T, std::size_t size>
  const T& one_of(const std::array<T, size>& choices) {
    return choices[static_cast<std::size_t>(below(size))];
  }

 private:
  static std::uint64_t mix(std::uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
  }

  std::uint64_t state_;
};

}  // namespace pgrm::loadgen
