// Sizes for people.
#pragma once

#include <cstdint>
#include <string>

namespace pgrm::agent {

/// "0 B", "12.3 kB": powers of 1000, as everywhere else here.
std::string human_bytes(std::int64_t bytes);

}  // namespace pgrm::agent
