#include "loadgen/client.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

namespace pgrm::loadgen {
namespace {

constexpr auto application_name = "pgrm-loadgen";
constexpr auto connect_deadline = std::chrono::seconds(2);
// Longer than any healthy commit takes; a server that hangs is left then.
constexpr auto operation_deadline = std::chrono::seconds(5);
// Longer without an answer, and the server may have ended the session.
constexpr auto idle = std::chrono::milliseconds(1);

struct Refusal {
  std::string_view sqlstate;  // or its beginning
  Next next;
};
// Whatever else a server refuses would be refused again.
constexpr std::array refusals{
    Refusal{"25006", Next::retry_elsewhere},  // read_only_sql_transaction: a standby, or fenced
    Refusal{"40001", Next::retry_here},       // serialization_failure
    Refusal{"40P01", Next::retry_here},       // deadlock_detected
    Refusal{"55P03", Next::retry_here},       // lock_not_available
    Refusal{"40003", Next::doubt},            // statement_completion_unknown
    Refusal{"08", Next::doubt},               // connection exception
    Refusal{"57P", Next::doubt},              // the server ended the session while it answered
};

std::string sqlstate_of(const Error& error) {
  const auto* const refusal = dynamic_cast<const SqlError*>(&error);
  return refusal != nullptr ? refusal->sqlstate() : "08000";
}

}  // namespace

Next judge(const Error& error) {
  const auto* const refusal = dynamic_cast<const SqlError*>(&error);
  if (refusal == nullptr) return Next::doubt;
  const auto* const row = std::ranges::find_if(
      refusals, [&](const Refusal& known) { return refusal->sqlstate().starts_with(known.sqlstate); });
  return row == refusals.end() ? Next::give_up : row->next;
}

Duration Backoff::next() {
  constexpr Duration first = std::chrono::milliseconds(2);
  constexpr Duration cap = std::chrono::milliseconds(100);
  if (attempt_++ == 0) return {};
  const Duration full = std::min(cap, first * (1 << std::min(attempt_ - 2, 6)));
  return std::chrono::duration_cast<Duration>(full * (0.5 + random_.unit() / 2));
}

void Complaints::log(const std::string& kind, const std::string& what) {
  const std::lock_guard lock(mutex_);
  Said& said = said_[kind];
  const Mono now = clock_.now();
  if (now < said.silent_until) {
    ++said.unsaid;
    return;
  }
  spdlog::warn("{}{}", what, said.unsaid > 0 ? fmt::format(" (and {} times like it since)", said.unsaid) : "");
  said = {now + std::chrono::seconds(5), 0};
}

Client::Client(Shared& shared, const Pair& pair, std::size_t id)
    : shared_(shared),
      id_(id),
      session_(pair, application_name),
      backoff_(Random(static_cast<std::uint64_t>(shared.workload.run()), id)) {}

void Client::warm_up() { connected(); }

void Client::run(const std::stop_token& stop) {
  while (const auto turn = shared_.pacer.next()) carry_out(*turn, stop);
  session_->close();
}

bool Client::connected() {
  // A client that was just answered has nothing else to read: asking costs a system call for every operation.
  const bool fresh = shared_.clock.now() - answered_ < idle;
  if (session_->is_open() && (fresh || !session_->closed_by_server())) return true;
  if (session_->is_open()) session_.turn();
  try {
    shared_.turnstile.pass([this] { session_->open(connect_deadline); });
    shared_.stats.connected();
    return true;
  } catch (const Error& error) {
    shared_.complaints.log(std::string(error.name()), error.what());
    session_.turn();
    return false;
  }
}

void Client::carry_out(const Pacer::Turn& turn, const std::stop_token& stop) {
  const Workload::Work work = shared_.workload.make(turn.number);
  const Operation& operation = operations[work.operation];
  Outcome outcome{.number = turn.number, .operation = work.operation, .client = id_};
  const auto finish = [&](Result result, Mono at) {
    outcome.result = result;
    outcome.latency = at - turn.due;
    shared_.finish(std::move(outcome));
  };

  for (;;) {
    if (connected()) {
      try {
        session_->execute(operation.statement, work.params, operation_deadline);
        backoff_.reset();
        answered_ = shared_.write_gap.commit();
        finish(Result::acknowledged, answered_);
        return shared_.pacer.done();
      } catch (const Error& error) {
        outcome.sqlstate = sqlstate_of(error);
        shared_.stats.refused(operation.kind, outcome.sqlstate);
        shared_.complaints.log(outcome.sqlstate, fmt::format("{}: {}", operation.name, error.what()));
        const Next next = judge(error);
        if (next == Next::doubt || next == Next::retry_elsewhere) session_.turn();
        if (next == Next::doubt || next == Next::give_up) {
          finish(next == Next::doubt ? Result::in_doubt : Result::failed, shared_.clock.now());
          return shared_.pacer.done();
        }
      }
    } else {
      shared_.stats.refused(operation.kind, "08001");  // sqlclient_unable_to_establish_sqlconnection
    }
    shared_.clock.sleep_for(backoff_.next(), stop);
    if (!shared_.pacer.again()) return finish(Result::failed, shared_.clock.now());
  }
}

}  // namespace pgrm::loadgen
