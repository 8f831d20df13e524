#include "loadgen/run.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <deque>
#include <exception>
#include <latch>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <ostream>
#include <random>
#include <thread>

#include "core/base/json_text.h"
#include "core/http/web_config.h"
#include "core/metrics/endpoint.h"
#include "loadgen/client.h"
#include "loadgen/control.h"
#include "loadgen/database.h"
#include "loadgen/ledger.h"
#include "loadgen/loss_check.h"
#include "loadgen/metrics.h"
#include "loadgen/pacer.h"
#include "loadgen/reads.h"
#include "loadgen/report.h"
#include "loadgen/stats.h"
#include "loadgen/writable_session.h"

namespace pgrm::loadgen {
namespace {

constexpr auto connect_deadline = std::chrono::seconds(5);
constexpr auto drain_budget = std::chrono::seconds(30);
constexpr auto look_interval = std::chrono::seconds(5);  // for lost writes

/// Positive, and never the same twice: it is a key in the database, and it begins the names of what is inserted.
std::int64_t new_run() {
  std::random_device device;
  const std::uint64_t bits = (std::uint64_t{device()} << 32) | device();
  return static_cast<std::int64_t>(bits >> 1);
}

std::string identity_of(const Pair& pair) {
  WritableSession session(pair, "pgrm-loadgen");
  session.open(connect_deadline);
  return seeded_database(*session).identity;
}

class Run {
 public:
  Run(const RunOptions& options, const Clock& clock, std::ostream& out)
      : options_(options),
        clock_(clock),
        out_(out),
        workload_(new_run(), options.seed, options.mix),
        pacer_(clock, options.ops_per_second),
        read_pacer_(clock, options.ops_per_second * options.reads),
        stats_(static_cast<std::size_t>(options.connections)),
        write_gap_(clock),
        complaints_(clock),
        loss_check_(options.pair, workload_.run()),
        metrics_(stats_, write_gap_, pacer_, loss_check_, read_stats_),
        shared_{clock,      workload_,   pacer_,     stats_,
                write_gap_, complaints_, turnstile_, [this](Outcome&& outcome) {
                  finish(std::move(outcome)); }},
        shared_reads_{clock, read_pacer_, read_stats_, complaints_, options.seed},
        server_(options.listen) {
    identity_ = identity_of(options.pair);
    const auto web_config = http::WebConfig::load(options.web_config);
    server_.configure(web_config);
    add_controls(server_, controls(), {.token = options.control_token, .passwords = web_config->has_users()});
    if (!options.ledger.empty()) {
      ledger_ = std::make_unique<Ledger>(
          options.ledger, identity_, workload_.run(), clock,
          [this](std::span<const Outcome> outcomes) { count(outcomes); }, [this] { end(); });
    }
    for (std::size_t id = 0; id < static_cast<std::size_t>(options.connections); ++id) {
      clients_.emplace_back(shared_, options.pair, id);
      if (options.reads > 0) readers_.emplace_back(shared_reads_, options.pair, id);
    }
  }

  ~Run() { end(); }
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  void go(const std::stop_token& stop) {
    const std::stop_callback told_to_stop(stop, [this] { end(); });
    begin_clients();
    began_ = clock_.now();
    server_.start();
    pacer_.resume();
    read_pacer_.resume();
    spdlog::info("run {}: {} on {} connections, mix {}, listening on port {}", workload_.run(), rate_in_words(),
                 options_.connections, fmt::join(options_.mix, "/"), server_.port());
    threads_.emplace_back([this] { look_until_end(); });
    if (options_.started) options_.started(server_.port());
    report_until_end();
    end();
    threads_.clear();  // joins them
    const Mono ended = clock_.now();
    if (failure_) std::rethrow_exception(failure_);
    if (ledger_) ledger_->finish();
    const Totals totals = stats_.totals();
    nlohmann::json last = state(ended);
    for (const Histogram& latency : stats_.by_client()) last["by_connection"].push_back(to_json(latency));
    out_ << summary(totals, ended - began_, write_gap_.longest(WriteGap::Window::run));
    if (!readers_.empty()) out_ << "  " << reads_part(read_stats_.totals(), ended - began_) << '\n';
    out_ << json_text(last) << std::endl;
  }

 private:
  void end() {
    pacer_.end();
    read_pacer_.end();
    ending_.request_stop();
  }

  void finish(Outcome&& outcome) {
    if (ledger_) {
      ledger_->record(std::move(outcome));  // counted when it is on the disk
    } else {
      count({&outcome, 1});
    }
  }

  void count(std::span<const Outcome> outcomes) {
    stats_.add(outcomes);
    loss_check_.add(outcomes);
  }

  /// Returns when each has tried to connect.
  void begin_clients() {
    const auto warm = std::make_shared<std::latch>(static_cast<std::ptrdiff_t>(clients_.size()));
    for (Client& client : clients_) {
      threads_.emplace_back([this, &client, warm] {
        client.warm_up();
        warm->count_down();
        try {
          client.run(ending_.get_token());
        } catch (...) {
          const std::lock_guard lock(failure_mutex_);
          failure_ = std::current_exception();
          end();
        }
      });
    }
    for (Reader& reader : readers_) {
      threads_.emplace_back([this, &reader] { reader.run(ending_.get_token()); });
    }
    warm->wait();
  }

  void report_until_end() {
    const Mono ends = options_.duration ? began_ + *options_.duration : Mono::max();
    Totals last = stats_.totals();
    ReadTotals last_reads = read_stats_.totals();
    for (Mono from = began_; from < ends;) {
      if (clock_.sleep_until(std::min(ends, from + options_.report_interval), ending_.get_token())) return;
      const Mono now = clock_.now();
      const Totals totals = stats_.totals();
      out_ << interval_line(totals.since(last), now - from, now - began_, write_gap_.longest(WriteGap::Window::report),
                            pacer_.paused());
      if (!readers_.empty()) {
        const ReadTotals totals_of_reads = read_stats_.totals();
        out_ << "  |  " << reads_part(totals_of_reads.since(last_reads), now - from);
        last_reads = totals_of_reads;
      }
      out_ << std::endl;
      write_gap_.restart(WriteGap::Window::report);
      last = totals;
      from = now;
    }
  }

  /// A pause is for somebody who wants to see no session at work.
  void look_until_end() {
    while (!clock_.sleep_for(look_interval, ending_.get_token())) {
      if (!pacer_.paused()) loss_check_.look(ending_.get_token());
    }
  }

  std::string rate_in_words() const {
    return options_.ops_per_second > 0 ? fmt::format("{} operations per second", options_.ops_per_second)
                                       : "as many operations as go";
  }

  Controls controls() {
    return {
        .pause =
            [this] {
              write_gap_.restart(WriteGap::Window::pause);
              if (!pacer_.pause(drain_budget)) return false;
              if (ledger_) ledger_->flush();
              return true;
            },
        .resume =
            [this] {
              pacer_.resume();
              read_stats_.begin_window(clock_.now());
            },
        .set_rate =
            [this](double rate) {
              pacer_.set_rate(rate);
              read_pacer_.set_rate(rate * options_.reads);
            },
        .state = [this] { return state(clock_.now()); },
        .metrics = [this] { return metrics::response({&metrics_}); },
    };
  }

  nlohmann::json state(Mono now) const {
    const auto gap = write_gap_.longest(WriteGap::Window::run);
    const auto lost = loss_check_.lost();
    return {{"program", "loadgen"},
            {"version", PGRM_VERSION},
            {"run", std::to_string(workload_.run())},
            {"database", identity_},
            {"ledger", options_.ledger.empty() ? nlohmann::json() : nlohmann::json(options_.ledger)},
            {"paused", pacer_.paused()},
            {"in_flight", pacer_.in_flight()},
            {"target_ops_per_second", pacer_.rate()},
            {"connections", options_.connections},
            {"totals", to_json(stats_.totals(), now - began_)},
            {"reads", readers_.empty() ? nlohmann::json() : to_json(read_stats_.totals(), now - began_)},
            {"reads_since_resume", reads_since_resume()},
            {"lost_writes", lost ? nlohmann::json(*lost) : nlohmann::json()},
            {"longest_write_gap_seconds", gap ? nlohmann::json(to_seconds(gap->length)) : nlohmann::json()},
            {"longest_write_gap", to_json(gap)},
            {"longest_write_gap_since_pause", to_json(write_gap_.longest(WriteGap::Window::pause))}};
  }

  nlohmann::json reads_since_resume() const {
    const auto window = read_stats_.window();
    if (!window || readers_.empty()) return {};
    return to_json(window->totals, clock_.now() - window->began);
  }

  const RunOptions& options_;
  const Clock& clock_;
  std::ostream& out_;
  std::string identity_;
  Workload workload_;
  Pacer pacer_, read_pacer_;
  Stats stats_;
  ReadStats read_stats_;
  WriteGap write_gap_;
  Complaints complaints_;
  Turnstile turnstile_;
  LossCheck loss_check_;
  Metrics metrics_;
  std::stop_source ending_;
  Mono began_{};
  std::mutex failure_mutex_;
  std::exception_ptr failure_;
  // From here on, threads: each is stopped before what it uses.
  std::unique_ptr<Ledger> ledger_;
  Shared shared_;
  SharedReads shared_reads_;
  std::deque<Client> clients_;
  std::deque<Reader> readers_;
  std::deque<std::jthread> threads_;
  http::Server server_;
};

}  // namespace

void run(const RunOptions& options, const Clock& clock, const std::stop_token& stop, std::ostream& out) {
  Run(options, clock, out).go(stop);
}

}  // namespace pgrm::loadgen
