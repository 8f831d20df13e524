// What the programs say about where they come from.
#pragma once

namespace pgrm {

/// "0.1.0 (c700c5e65742)": the version, and the commit that it was built from, with "-dirty" when the files were not
/// those of the commit. From an archive, which has no commit, the version alone. Written anew by every build
/// (version.cmake).
extern const char* const version;

}  // namespace pgrm
