// simulation FIRST COUNT: plays that many seeds from FIRST on, for hours if need be; or one, with its story.
#include <spdlog/spdlog.h>

#include <chrono>
#include <cstdlib>
#include <iostream>

#include "tests/scenario/simulation.h"

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: simulation FIRST COUNT\n";
    return 2;
  }
  spdlog::set_level(spdlog::level::off);
  const std::uint64_t first = std::strtoull(argv[1], nullptr, 10), count = std::strtoull(argv[2], nullptr, 10);
  const auto start = std::chrono::steady_clock::now();
  std::uint64_t asked = 0, broken = 0;
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    const pgrm::agent::Story story = pgrm::agent::simulate(seed, count == 1);
    asked += story.asked ? 1 : 0;
    if (count == 1) std::cout << story.transcript;
    if (story.broken.empty()) continue;
    ++broken;
    std::cout << "seed " << seed << ": " << story.broken << std::endl;
    if (broken == 20) break;
  }
  const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::cout << count << " seeds, " << static_cast<std::uint64_t>(static_cast<double>(count) / took) << " a second; "
            << broken << " broke an invariant, " << asked << " ended with a question to a person\n";
  return broken == 0 ? 0 : 1;
}
