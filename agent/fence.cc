#include "agent/fence.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <vector>

#include "core/base/error.h"
#include "core/base/wait.h"

namespace pgrm::agent {
namespace {

std::string describe(const std::vector<ClientSession>& sessions) {
  std::vector<std::string> texts;
  for (const ClientSession& session : sessions) {
    texts.push_back(fmt::format("pid {} of {} ({})", session.pid, session.user, session.state));
    if (texts.size() == 5) break;
  }
  return fmt::format("{}", fmt::join(texts, ", "));
}

}  // namespace

nlohmann::json before_fence(Node& admin, Duration deadline) {
  const auto override = admin.read_only_override(deadline);
  return {{"default_transaction_read_only", override ? nlohmann::json(*override) : nlohmann::json()}};
}

Fence raise_fence(Node& admin, const Clock& clock, Duration budget) {
  const Mono end = clock.now() + budget;
  Fence fence{.since = admin.override_read_only("on", budget)};
  // pg_terminate_backend() only asks: what counts is that nobody is left. Asking once is enough, a backend that is busy
  // ends as soon as it can.
  std::vector<ClientSession> left = admin.client_sessions(fence.since, budget);
  fence.sessions_ended = static_cast<int>(left.size());
  for (const ClientSession& session : left) admin.terminate(session.pid, budget);
  const WaitEnd waited = wait_until(clock, end - clock.now(), std::chrono::milliseconds(1), {}, [&] {
    left = admin.client_sessions(fence.since, budget);
    return left.empty();
  });
  if (waited != WaitEnd::reached) {
    throw Error(ErrorCode::timeout,
                fmt::format("{} sessions from before the fence are still there after {}: {}", left.size(),
                            human(budget), describe(left)),
                "end them by hand, or find out what they wait for: pg_stat_activity on the primary");
  }
  return fence;
}

void attack_fence(Node& application, const std::string& cutover, Duration deadline) {
  const WriteProbe probe = application.write_probe(cutover, deadline);
  if (probe.accepted) throw Error(ErrorCode::proof_failed, "the fence does not hold: a plain write was accepted");
  // Any other refusal says nothing about the next client.
  if (!probe.read_only) {
    throw Error(ErrorCode::proof_failed, "a write was refused for another reason than the fence: " + probe.refusal);
  }
}

void lift_fence(Node& admin, Node& application, const nlohmann::json& before, const std::string& cutover,
                Duration deadline) {
  const nlohmann::json& override = before.at("default_transaction_read_only");
  admin.override_read_only(override.is_null() ? std::nullopt : std::optional(override.get<std::string>()), deadline);
  const WriteProbe probe = application.write_probe(cutover, deadline);
  if (!probe.accepted) {
    throw Error(ErrorCode::proof_failed, "the old primary still refuses writes: " + probe.refusal,
                "alter system reset default_transaction_read_only; select pg_reload_conf()");
  }
}

}  // namespace pgrm::agent
