#include "agent/plan/imagined_means.h"

#include <utility>

namespace pgrm::agent {
namespace {

class ImaginedTraffic final : public Traffic {
 public:
  ImaginedTraffic(std::unique_ptr<Traffic> real, TakeOrder take) : real_(std::move(real)), take_(std::move(take)) {}

  std::string name() const override { return real_->name(); }
  std::string problem() override { return real_->problem(); }
  std::vector<std::string> orders(TrafficCall call) override { return real_->orders(call); }
  std::vector<int> waits_for() override { return real_->waits_for(); }
  bool holds_application() const override { return real_->holds_application(); }
  std::launch beside() const override { return std::launch::deferred; }  // so that a plan has one order

  void stop(Duration) override { give(TrafficCall::stop); }
  void after_fence(Duration) override { give(TrafficCall::after_fence); }
  void resume_on_new(Duration) override { give(TrafficCall::resume_on_new); }
  void resume_on_old(Duration) override { give(TrafficCall::resume_on_old); }

 private:
  void give(TrafficCall call) {
    for (std::string& line : real_->orders(call)) take_({real_->name(), {}, std::move(line), {}});
  }

  std::unique_ptr<Traffic> real_;
  TakeOrder take_;
};

class ImaginedNodeControl final : public NodeControl {
 public:
  ImaginedNodeControl(NodeControl& real, const Options& options, ImaginedPair& pair, TakeOrder take)
      : real_(real), options_(options), pair_(pair), take_(std::move(take)) {}

  std::string problem(NodeVerb verb, Duration budget) override { return real_.problem(verb, budget); }
  std::string command_line(NodeVerb verb) const override { return real_.command_line(verb); }

  std::string carry_out(NodeVerb verb, Duration) override {
    take_({"host of " + options_.pair.old_primary.address(), {}, real_.command_line(verb), {}});
    if (verb == NodeVerb::stop) pair_.stop_old();
    if (verb == NodeVerb::start) pair_.start_old_as_standby(options_.standby_slot);
    return {};
  }

 private:
  NodeControl& real_;
  const Options& options_;
  ImaginedPair& pair_;
  TakeOrder take_;
};

}  // namespace

void imagine(Servers& servers, ImaginedPair& pair) {
  for (auto* const node : {&servers.old_primary.admin, &servers.old_primary.application, &servers.lock}) {
    *node = pair.old_primary(std::move(*node));
  }
  for (auto* const node : {&servers.new_primary.admin, &servers.new_primary.application}) {
    *node = pair.new_primary(std::move(*node));
  }
  for (auto& sibling : servers.siblings) sibling = pair.sibling(std::move(sibling));
}

Traffics imagine(Traffics traffic, TakeOrder take) {
  Traffics imagined;
  for (auto& driver : traffic) imagined.push_back(std::make_unique<ImaginedTraffic>(std::move(driver), take));
  return imagined;
}

std::unique_ptr<NodeControl> imagine(NodeControl& real, const Options& options, ImaginedPair& pair, TakeOrder take) {
  return std::make_unique<ImaginedNodeControl>(real, options, pair, std::move(take));
}

}  // namespace pgrm::agent
