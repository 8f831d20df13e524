// A session on whichever server of a pair takes writes.
#pragma once

#include <array>
#include <string>

#include "core/pg/session.h"

namespace pgrm::loadgen {

/// libpq asks the hosts of a list in turn, but a server whose database is closed (SQLSTATE 55000) ends its search. So
/// there are two lists, one in each order. As thread-safe as a Session.
class WritableSession {
 public:
  /// Does not connect yet.
  WritableSession(const Pair& pair, std::string application_name);

  /// Opens it with one order, and if that fails with the other. Throws what Session::open() throws: the second failure.
  void open(Duration deadline);
  /// Closes it. It is opened with the other order next: what was writable may be so no longer.
  void turn();

  Session& operator*() { return session_; }
  Session* operator->() { return &session_; }

 private:
  std::string application_name_;
  std::array<Conninfo, 2> orders_;
  std::size_t order_ = 0;
  Session session_;
};

}  // namespace pgrm::loadgen
