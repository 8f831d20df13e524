// A write tried over a connection of its own, as a client would.
#pragma once

#include <string>

#include "core/pg/conninfo.h"
#include "core/pg/node.h"

namespace pgrm {

/// Logs in to `server` as `how` says, opens a READ WRITE transaction when it is to override a read-only default, writes
/// a row into pgrm.cutover_probe and rolls it back. What the server refuses, at whatever point, is an answer. Blocks
/// for at most `deadline`. Throws Error(unreachable) when there is no server to answer, Error(timeout). libpq alone
/// tells the SQLSTATE of a refused login, whatever language the server speaks (PQsetErrorVerbosity).
WriteProbe attack_server(const Conninfo& server, const std::string& application_name, const Attack& how,
                         Duration deadline);

}  // namespace pgrm
