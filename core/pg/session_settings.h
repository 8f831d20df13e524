// What a session sets for itself before anything else.
#pragma once

#include <optional>
#include <string>

#include "core/base/clock.h"

namespace pgrm {

/// One script. `observer_timeout`: see NodeOptions. `version`: of the server, as server_version_num.
std::string session_settings(const std::optional<Duration>& observer_timeout, int version);

}  // namespace pgrm
