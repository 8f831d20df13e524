// Doing the same for many, several at a time.
#pragma once

#include <algorithm>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <future>
#include <vector>

namespace pgrm::agent {

/// Calls work(0) to work(count - 1), at most `at_a_time` at once, each as soon as there is room. Returns when all have
/// ended; what one of them throws passes through then.
template <std::invocable<std::size_t> Work>
void each_of(std::size_t count, std::size_t at_a_time, const Work& work) {
  std::atomic<std::size_t> next = 0;
  std::vector<std::future<void>> workers;
  for (std::size_t i = 0; i < std::min(at_a_time, count); ++i) {
    workers.push_back(std::async(std::launch::async, [&] {
      for (std::size_t mine = next++; mine < count; mine = next++) work(mine);
    }));
  }
  for (auto& worker : workers) worker.wait();
  for (auto& worker : workers) worker.get();
}

}  // namespace pgrm::agent
