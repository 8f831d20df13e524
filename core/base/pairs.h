// pairs.yml: many pairs in one file, each with the settings that are its own (docs/fleet.md).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/base/config.h"
#include "core/base/error.h"

namespace pgrm {

/// Every pair of the file, in its order, with what `defaults` say for all. Reads no secret, only where it is. Throws
/// Error(configuration) with one line for each fault of the whole file, "pairs.yml:12: …".
std::vector<PairEntry> read_pairs(const std::string& path);

/// Throws Error(usage) when there is none of that name.
const PairEntry& pair_named(const std::vector<PairEntry>& pairs, std::string_view name);

/// One error for all of them, a line each. REQUIRES: there is one.
Error faults_of_pairs(const std::vector<std::string>& faults);

}  // namespace pgrm
