#include "loadgen/writable_session.h"

#include <utility>

namespace pgrm::loadgen {

WritableSession::WritableSession(const Pair& pair, std::string application_name)
    : application_name_(std::move(application_name)),
      orders_{writable_one_of(pair), writable_one_of({pair.replica, pair.primary})},
      session_(orders_[0], application_name_) {}

void WritableSession::open(Duration deadline) {
  try {
    session_.open(deadline);
  } catch (const Error&) {
    turn();
    session_.open(deadline);
  }
}

void WritableSession::turn() {
  order_ = 1 - order_;
  session_ = Session(orders_.at(order_), application_name_);
}

}  // namespace pgrm::loadgen
