// What a session sets for itself before anything else.
#pragma once

#include <optional>
#include <string>

#include "core/base/clock.h"

namespace pgrm {

class Session;

/// Opens `session` unless it is open, and never leaves it open without its settings. `deadline` covers both. Throws as
/// Session::open() and Session::script().
void open_with_settings(Session& session, const std::optional<Duration>& observer_timeout, Duration deadline);

/// One script. `observer_timeout`: see NodeOptions. `version`: of the server, as server_version_num.
std::string session_settings(const std::optional<Duration>& observer_timeout, int version);

}  // namespace pgrm
