// One server, asked on a thread of a pool: a server that hangs, or a name that does not resolve, holds up neither the
// other server nor the caller.
#pragma once

#include <condition_variable>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "core/base/clock.h"
#include "core/pg/node.h"
#include "core/replication/sample.h"
#include "exporter/pool.h"

namespace pgrm::exporter {

/// How long one question to one server may take: libpq does not allow less for connecting.
inline constexpr Duration look_deadline = std::chrono::seconds(2);

class Watcher {
 public:
  /// `deadline`: for one look. `clock` and `pool` must outlive the watcher. A question that is under way when it ends
  /// is ended by the pool.
  Watcher(std::unique_ptr<Node> node, const Clock& clock, Duration deadline, Pool& pool);

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
  ServerSample look(Duration patience);

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

  /// What a question that comes back late still needs.
  struct Server {
    explicit Server(std::unique_ptr<Node> asked) : node(std::move(asked)) {}
    void run_job();

    std::unique_ptr<Node> node;
    std::mutex mutex;
    std::condition_variable changed;
    std::function<void(Node&)> job;  // until it is done
    bool running = false;
  };

  void run_on_thread(std::function<void(Node&)> job, Duration patience);
  [[noreturn]] void no_answer() const;

  const Clock& clock_;
  const Duration deadline_;
  const std::shared_ptr<Server> server_;
  const std::string address_;
  Pool& pool_;
  Mono asked_at_{};
};

}  // namespace pgrm::exporter
