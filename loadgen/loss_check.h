// A look now and then, while the load runs, whether what was acknowledged lately is on the server that takes writes
// now.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <span>
#include <stop_token>
#include <vector>

#include "loadgen/stats.h"
#include "loadgen/writable_session.h"

namespace pgrm::loadgen {

/// An alarm, not the proof: it looks at the latest acknowledged operations of one run, of which a server that was
/// promoted too early lacks the last ones first. The proof is verify(). Thread-safe but for look().
class LossCheck {
 public:
  /// How many of the latest acknowledged operations a look is about.
  static constexpr std::size_t window = 100'000;
  /// How many looks may fail in a row, as they do while a cutover has nobody take writes.
  static constexpr int patience = 3;

  LossCheck(const Pair& pair, std::int64_t run);

  /// Takes the acknowledged ones among them.
  void add(std::span<const Outcome> outcomes);
  /// One look: at what is new since the last one, and at all of them when the session is a new one, for then the server
  /// may be another. If the server cannot be asked, nothing is
  /// concluded; the next look asks again. One thread at a time.
  void look(const std::stop_token& stop);
  /// The most that one look has found missing. nullopt: not known. No look was taken yet, or none was missing and the
  /// last `patience` looks failed.
  std::optional<std::uint64_t> lost() const;

 private:
  /// The operations that a look is about: all, or those that were acknowledged since the last one.
  std::vector<std::uint64_t> latest(bool all);
  void found(const std::vector<std::uint64_t>& missing);
  void failed(const Error& error);
  std::vector<std::uint64_t> missing(const std::vector<std::uint64_t>& acknowledged, const std::stop_token& stop);

  const std::int64_t run_;
  WritableSession session_;
  mutable std::mutex mutex_;
  std::deque<std::uint64_t> latest_;
  std::size_t new_ = 0;  // how many of them, at the end, the session that is open has not been asked for
  std::optional<std::uint64_t> lost_;
  int failed_ = 0;  // looks in a row
};

}  // namespace pgrm::loadgen
