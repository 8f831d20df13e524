// A seeded simulation of a cutover among people and machines that nobody controls: one seed decides who acts, when, and
// how every call ends. After every event the invariants of engine/walk.cc must hold; a seed that breaks one prints its
// story.
#pragma once

#include <cstdint>
#include <string>

namespace pgrm::agent {

struct Story {
  std::string broken;      // the invariant that did not hold; empty: all did
  std::string transcript;  // every event and every end of an agent, one a line
  bool asked = false;      // ended with exit code 7: a person has to decide
};

/// The same for the same seed. `calls`: every call to a server stands in the transcript as well.
Story simulate(std::uint64_t seed, bool calls = false);

}  // namespace pgrm::agent
