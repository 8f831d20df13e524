// Many pairs, each looked at on its own interval.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "core/base/clock.h"
#include "exporter/options.h"
#include "exporter/pool.h"
#include "exporter/sampler.h"

namespace pgrm::exporter {

/// No pair waits for another one. A round of one that hangs takes a thread of its own until its deadlines end it, and
/// the pair's next round begins only after that: threads at most three for each pair, sessions one for each server.
class Fleet {
 public:
  using MakeNode = std::function<std::unique_ptr<Node>(const Conninfo&)>;

  explicit Fleet(MakeNode make_node = observer_of);
  /// Ends observing; waits for rounds under way, which their deadlines end.
  ~Fleet();
  Fleet(const Fleet&) = delete;
  Fleet& operator=(const Fleet&) = delete;

  /// From now on these pairs, and no others. A pair whose servers, thresholds and interval are as they were goes on as
  /// it is: with its sessions, its streak and its time of the next look. Thread-safe.
  void watch(std::vector<NamedPair> pairs);

  /// All of them as of now, by name. Thread-safe, and never waits for a server.
  std::vector<NamedView> views() const;
  /// nullopt: there is no such pair.
  std::optional<NamedView> view(std::string_view name) const;

  std::size_t threads() const { return pool_.threads(); }

 private:
  struct Member {
    NamedPair described;
    std::shared_ptr<Sampler> sampler;
    std::stop_source ending;
    Mono due{};
  };
  using Members = std::map<std::string, std::shared_ptr<Member>, std::less<>>;

  std::shared_ptr<Member> begin(NamedPair pair);
  void run(const std::stop_token& stop);
  void round(const std::shared_ptr<Member>& member);
  static NamedView view_of(const Member& member);

  const MakeNode make_node_;
  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  Members members_;
  std::multimap<Mono, std::shared_ptr<Member>> due_;  // of those that are not looked at just now
  Pool pool_;                                         // after what its jobs use
  std::jthread thread_;                               // last: it uses all of the above
};

}  // namespace pgrm::exporter
