#include "exporter/fleet.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <system_error>
#include <utility>

namespace pgrm::exporter {
namespace {

/// First looks come one after the other: three hundred logins at once would be a load that nobody asked for.
constexpr Duration between_first_looks = std::chrono::milliseconds(40);

/// Labels may change while a pair is watched.
bool same_work(const NamedPair& a, const NamedPair& b) {
  const auto same = [](const Conninfo& one, const Conninfo& other) {
    return one.password_file() == other.password_file() && one.text().reveal() == other.text().reveal();
  };
  return same(a.pair.primary, b.pair.primary) && same(a.pair.replica, b.pair.replica) && a.policy == b.policy;
}

}  // namespace

Fleet::Fleet(MakeNode make_node)
    : make_node_(std::move(make_node)), thread_([this](const std::stop_token& stop) { run(stop); }) {}

Fleet::~Fleet() {
  thread_.request_stop();
  thread_.join();
  const std::lock_guard lock(mutex_);
  for (const auto& [name, member] : members_) member->ending.request_stop();
}

std::shared_ptr<Fleet::Member> Fleet::begin(NamedPair pair) {
  auto member = std::make_shared<Member>();
  member->sampler = std::make_shared<Sampler>(make_node_(pair.pair.primary), make_node_(pair.pair.replica), pair.policy,
                                              system_clock(), pool_, pair.name);
  member->described = std::move(pair);
  return member;
}

void Fleet::watch(std::vector<NamedPair> pairs) {
  Members before;  // what is left of them ends its sessions when the lock is free
  const std::lock_guard lock(mutex_);
  before = std::exchange(members_, {});
  Mono first_look = system_clock().now();
  for (NamedPair& pair : pairs) {
    const std::string name = pair.name;
    const auto known = before.find(name);
    if (known != before.end() && same_work(known->second->described, pair)) {
      known->second->described.labels = std::move(pair.labels);
      members_.insert(before.extract(known));
      continue;
    }
    const auto& member = members_[name] = begin(std::move(pair));
    member->due = first_look;
    due_.emplace(member->due, member);
    first_look += between_first_looks;
    spdlog::info("{}: watching {} and {} every {}", name, member->described.pair.primary.address(),
                 member->described.pair.replica.address(), human(member->described.policy.interval));
  }
  for (const auto& [name, gone] : before) {
    gone->ending.request_stop();
    if (!members_.contains(name)) spdlog::info("{}: not watched any more", name);
  }
  std::erase_if(due_, [](const auto& next) { return next.second->ending.stop_requested(); });
  changed_.notify_all();
}

void Fleet::run(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    if (due_.empty()) {
      changed_.wait(lock, stop, [this] { return !due_.empty(); });
      continue;
    }
    const Mono next = due_.begin()->first;
    if (next > system_clock().now()) {
      changed_.wait_until(lock, stop, next, [&] { return due_.empty() || due_.begin()->first < next; });
      continue;
    }
    const auto member = due_.extract(due_.begin()).mapped();
    try {
      pool_.post([this, member] { round(member); });
    } catch (const std::system_error& problem) {
      spdlog::error("{}: cannot be looked at: {}", member->described.name, problem.what());
      due_.emplace(system_clock().now() + member->described.policy.interval, member);
    }
  }
}

void Fleet::round(const std::shared_ptr<Member>& member) {
  member->sampler->round(member->ending.get_token());
  const std::lock_guard lock(mutex_);
  if (member->ending.stop_requested()) return;
  // Rounds that were missed are not made up for.
  member->due = std::max(member->due + member->described.policy.interval, system_clock().now());
  const auto place = due_.emplace(member->due, member);
  if (place == due_.begin()) changed_.notify_all();
}

NamedView Fleet::view_of(const Member& member) {
  return {member.described.name, member.described.labels, member.sampler->view()};
}

std::vector<NamedView> Fleet::views() const {
  const std::lock_guard lock(mutex_);
  std::vector<NamedView> views;
  views.reserve(members_.size());
  for (const auto& [name, member] : members_) views.push_back(view_of(*member));
  return views;
}

std::optional<NamedView> Fleet::view(std::string_view name) const {
  const std::lock_guard lock(mutex_);
  const auto found = members_.find(name);
  if (found == members_.end()) return std::nullopt;
  return view_of(*found->second);
}

}  // namespace pgrm::exporter
