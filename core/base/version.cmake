# Writes FILE, which defines what version.h declares: cmake -D VERSION=… -D SOURCE=… -D FILE=… -P version.cmake
# Only SOURCE itself is asked for its commit: an archive that was unpacked inside somebody's repository has none.
get_filename_component(above ${SOURCE} DIRECTORY)
set(ENV{GIT_CEILING_DIRECTORIES} ${above})
set(ENV{GIT_OPTIONAL_LOCKS} 0)
unset(ENV{GIT_DIR})
execute_process(COMMAND git -C ${SOURCE} describe --always --dirty --abbrev=12 --exclude=*
  OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
set(text ${VERSION})
if(NOT failed AND commit)
  string(APPEND text " (${commit})")
endif()
file(CONFIGURE OUTPUT ${FILE} @ONLY CONTENT [[
#include "core/base/version.h"

namespace pgrm {

const char* const version = "@text@";

}  // namespace pgrm
]])
