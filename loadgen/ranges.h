// A growing set of numbers, kept as ranges: a million of them in a row cost as much as one.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace pgrm::loadgen {

class Ranges {
 public:
  struct Range {
    std::uint64_t first, last;
  };

  /// REQUIRES: first <= last, and both greater than everything added before.
  void add(std::uint64_t first, std::uint64_t last) {
    count_ += last - first + 1;
    if (!ranges_.empty() && ranges_.back().last + 1 == first) {
      ranges_.back().last = last;
    } else {
      ranges_.push_back({first, last});
    }
  }
  void add(std::uint64_t number) { add(number, number); }

  bool contains(std::uint64_t number) const {
    const auto after = std::ranges::upper_bound(ranges_, number, {}, &Range::first);
    return after != ranges_.begin() && number <= std::prev(after)->last;
  }
  std::uint64_t count() const { return count_; }
  const std::vector<Range>& all() const { return ranges_; }

 private:
  std::vector<Range> ranges_;
  std::uint64_t count_ = 0;
};

}  // namespace pgrm::loadgen
