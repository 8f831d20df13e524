// One server, asked on a thread of its own: a server that hangs, or a name that does not resolve, holds up neither the
// other server nor the caller.
#pragma once

#include <condition_variable>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "core/base/clock.h"
#include "core/pg/node.h"
#include "core/replication/sample.h"

namespace pgrm::exporter {

/// How long one question to one server may take: libpq does not allow less for connecting.
inline constexpr Duration look_deadline = std::chrono::seconds(2);

class Watcher {
 public:
  /// `deadline`: for one look. `clock` must outlive the watcher.
  Watcher(std::unique_ptr<Node> node, const Clock& clock, Duration deadline);
  /// Waits for a question that is under way.
  ~Watcher();

  /// What `question`, asked now, returns or throws; Error(timeout) when it has not come back within `patience`, and at
  /// once when an earlier one has still not: what comes back late belongs to another round, and is thrown away. After a
  /// failed question the connection is opened anew. One caller at a time.
  template <class Result>
  Result ask(std::function<Result(Node&)> question, Duration patience) {
    const auto task = std::make_shared<std::packaged_task<Result(Node&)>>(
        [question = std::move(question)](Node& node) { return or_disconnect(question, node); });
    std::future<Result> answer = task->get_future();
    run_on_thread([task](Node& node) { (*task)(node); }, patience);
    return answer.get();
  }

  /// What a look that begins now sees. Never throws.
  NodeSample look(Duration patience);

 private:
  template <class Result>
  static Result or_disconnect(const std::function<Result(Node&)>& question, Node& node) {
    try {
      return question(node);
    } catch (...) {
      node.disconnect();
      throw;
    }
  }

  void run(const std::stop_token& stop);
  void run_on_thread(std::function<void(Node&)> job, Duration patience);
  [[noreturn]] void no_answer() const;

  std::unique_ptr<Node> node_;
  const Clock& clock_;
  const Duration deadline_;
  const std::string address_;

  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::function<void(Node&)> job_;  // until it is done
  bool running_ = false;
  Mono asked_at_{};
  std::jthread thread_;  // last: it uses all of the above
};

}  // namespace pgrm::exporter
