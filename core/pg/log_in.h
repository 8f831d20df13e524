// Logging in with a deadline that is kept to the millisecond, but for the time that looking up a name takes.
#pragma once

#include <string>

#include "core/base/clock.h"

struct pg_conn;  // libpq's PGconn

namespace pgrm {

/// Waits until the connection's socket can be read (`event` POLLIN) or written (POLLOUT). Throws Error(timeout) at
/// `end`. `server`: for messages.
void wait_for(pg_conn* connection, short event, const std::string& server, Mono end);

/// Takes a connection that PQconnectStart() has begun to its end: libpq's own limit, connect_timeout, is two seconds at
/// least. Returns the SQLSTATE with which the server refuses it; empty: logged in. Error messages of this connection
/// are SQLSTATEs from then on. Throws Error(timeout) at `end`, and Error(unreachable) when it ends without a word of
/// the server: nobody answered, or it asked for a password that is not there (PQconnectionNeedsPassword()).
std::string log_in(pg_conn* connection, const std::string& server, Mono end);

}  // namespace pgrm
