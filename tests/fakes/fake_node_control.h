// Commands for the old primary of a fake cluster: they do to the model what real ones do to a host.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "agent/demote/node_control.h"
#include "core/base/error.h"
#include "tests/fakes/fake_cluster.h"

namespace pgrm::agent {

class FakeNodeControl final : public NodeControl {
 public:
  explicit FakeNodeControl(FakeCluster& cluster) : cluster_(cluster) {}

  std::string problem(NodeVerb verb, Duration) override {
    if (verb == NodeVerb::diverged && !cannot_diverged.empty()) return cannot_diverged;
    return trouble.empty() ? "" : std::string(to_string(verb)) + ": " + trouble;
  }

  std::string command_line(NodeVerb verb) const override { return std::string(to_string(verb)); }

  std::string carry_out(NodeVerb verb, Duration) override {
    orders.emplace_back(to_string(verb));
    const std::string call = "control." + orders.back();
    cluster_.calls.push_back(call);
    if (cluster_.before) cluster_.before(call);
    if (fails == to_string(verb)) throw Error(ErrorCode::query_failed, fails + " exited with 1");
    switch (verb) {
      case NodeVerb::stop:
        if (obeys_stop) cluster_.primary.up = false;
        break;
      case NodeVerb::diverged:
        break;
      case NodeVerb::rewind:
        rewound_ = true;
        break;
      case NodeVerb::start:
        start();
        break;
    }
    if (cluster_.after) cluster_.after(call);
    return verb == NodeVerb::diverged ? diverged : "";
  }

  std::string trouble;          // what --check says
  std::string cannot_diverged;  // what it says of the command diverged alone
  std::string diverged;         // what that prints
  std::string fails;            // the verb that fails
  bool obeys_stop = true;
  bool leaves_standby_signal = true;
  bool streams = true;
  std::vector<std::string> orders;

 private:
  void start() {
    FakeCluster::Server& old = cluster_.primary;
    old.restart();
    if (!rewound_ || !leaves_standby_signal) return;
    // Everything is the new primary's now, catalogs and settings included.
    old.written = old.override = cluster_.replica.written;
    old.databases = cluster_.replica.databases;
    old.writes = cluster_.replica.writes;
    old.state.in_recovery = true;
    old.state.timeline = cluster_.replica.state.timeline;
    old.state.slots.clear();
    if (!streams) return;
    WalReceiver receiver;
    receiver.status = "streaming";
    receiver.slot = "pgrm_standby";
    receiver.sender_host = "new";
    receiver.sender_port = 5432;
    old.state.receiver = receiver;
    Standby row;
    row.name = receiver.slot;
    row.slot = receiver.slot;
    row.state = "streaming";
    cluster_.replica.state.standbys = {row};
  }

  FakeCluster& cluster_;
  bool rewound_ = false;
};

}  // namespace pgrm::agent
