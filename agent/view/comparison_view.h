// The application's life before and after, for people.
#pragma once

#include <iosfwd>

#include "agent/compare/compare.h"

namespace pgrm::agent {

/// The verdict first, then figures, statements that got slower, settings that differ, and what is not known.
void print_comparison(std::ostream& out, const Comparison& comparison);

}  // namespace pgrm::agent
