#include "agent/fence/fence.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <functional>
#include <iterator>
#include <set>

#include "core/base/error.h"
#include "core/base/wait.h"

namespace pgrm::agent {
namespace {

constexpr std::string_view wedge_prefix = "pgrm_";
constexpr std::string_view no_utf8 = "\xEF\xBF\xBD";  // U+FFFD, see valid_utf8(): no order can name what has it

std::string describe(const std::vector<ClientSession>& sessions) {
  std::vector<std::string> texts;
  for (const ClientSession& session : sessions) {
    texts.push_back(fmt::format("pid {} of {}{} ({})", session.pid, session.user,
                                session.superuser ? ", a superuser" : "", session.state));
    if (texts.size() == 5) break;
  }
  return fmt::format("{}", fmt::join(texts, ", "));
}

nlohmann::json to_json(const std::optional<std::string>& text) {
  return text ? nlohmann::json(*text) : nlohmann::json();
}

std::optional<std::string> text_of(const nlohmann::json& json) {
  return json.is_null() ? std::nullopt : std::optional(json.get<std::string>());
}

/// Nobody works in a template as a rule: one that is not the agent's to close is left to the other layers.
bool is_exempt(const Database& database) { return database.is_template && !database.may_alter; }

bool closes(const FencePlan& plan) { return plan.form == FenceForm::closed; }

std::vector<std::string> gated(const FencePlan& plan) {
  return closes(plan) ? plan.databases : std::vector<std::string>();
}

/// Those that have just been asked to end. The others may be asked yet: one that is being let in cannot be asked before
/// it is in.
void note_asked(std::set<int>& asked, const EndingSessions& sessions) {
  for (const ClientSession& session : sessions.left) {
    if (session.asked_to_end) asked.insert(session.pid);
  }
}

/// Ends every session that is behind a shut gate and, once the server has reloaded as `ordered`, every one from before
/// that. pg_terminate_backend() only asks: what counts is that none is left. Returns how many there were.
int end_sessions(Node& admin, const FencePlan& plan, const std::optional<Reload>& ordered, std::set<int> asked,
                 const Clock& clock, Mono end) {
  EndingSessions sessions;
  const auto reloaded = [&] { return !ordered || sessions.loaded != ordered->loaded_before; };
  const auto nobody_left = [&] {
    const Duration deadline = std::max<Duration>(end - clock.now(), std::chrono::seconds(1));
    sessions = admin.end_sessions(ordered ? Began::before_reload : Began::in_databases, gated(plan), asked, deadline);
    note_asked(asked, sessions);
    return reloaded() && sessions.left.empty();
  };
  if (wait_until(clock, end - clock.now(), std::chrono::milliseconds(1), {}, nobody_left) == WaitEnd::reached) {
    return static_cast<int>(asked.size());
  }
  if (!reloaded()) {
    throw Error(ErrorCode::timeout, admin.describe() + " has not reloaded its configuration in time");
  }
  throw Error(ErrorCode::timeout,
              fmt::format("{} sessions from before the fence are still there: {}", sessions.left.size(),
                          describe(sessions.left)),
              "end them by hand, or find out what they wait for: pg_stat_activity on the primary");
}

/// In the order of the plan: the application's database comes first.
std::vector<std::string> closed_by(const FencePlan& plan, const FenceView& view) {
  std::vector<std::string> closed;
  std::ranges::copy_if(plan.databases, std::back_inserter(closed), [&](const std::string& name) {
    const auto there = std::ranges::find(view.databases, name, &Database::name);
    return there != view.databases.end() && !there->open;
  });
  return closed;
}

/// Throws Error(proof_failed) for whatever of the plan is not so, or no longer.
void verify_layers(const FenceView& view, const FencePlan& plan) {
  std::vector<std::string> wrong;
  if (view.overrides != plan.settings()) wrong.emplace_back("the settings of the fence are not in effect");
  for (const Database& database : view.databases) {
    if (database.open && closes(plan) && !is_exempt(database))
      wrong.push_back("database " + database.name + " is open");
  }
  for (const Subscription& subscription : view.subscriptions) {
    wrong.push_back("subscription " + subscription.name + " is enabled");
  }
  for (const std::string& id : view.prepared_transactions) wrong.push_back("transaction " + id + " is prepared");
  for (const std::string& who : view.read_only_exceptions) wrong.push_back("it does not hold for " + who);
  if (!wrong.empty()) {
    throw Error(ErrorCode::proof_failed, fmt::format("the fence does not hold: {}", fmt::join(wrong, "; ")));
  }
}

void judge(const WriteProbe& probe, bool expected, std::string_view how) {
  if (probe.accepted) {
    throw Error(ErrorCode::proof_failed, fmt::format("the fence does not hold: a write {} was accepted", how));
  }
  // Any other refusal says nothing about the next client.
  if (!expected) {
    throw Error(ErrorCode::proof_failed,
                fmt::format("a write {} was refused for another reason than the fence: {}", how, probe.refusal));
  }
}

/// The hardest attack that the form must withstand, over a new connection, as the application's role.
std::future<WriteProbe> attack(Node& application, const FencePlan& plan, Duration deadline, bool writes = true) {
  return application.attack({.role = plan.owner, .overrides_read_only = closes(plan), .writes = writes}, deadline);
}

void judge_attack(std::future<WriteProbe> attacked, const FencePlan& plan) {
  const WriteProbe probe = attacked.get();
  judge(probe, closes(plan) ? probe.shut_out : probe.read_only,
        closes(plan) ? "over a new connection that asks for READ WRITE" : "over a new connection");
}

void judge_open_session(std::future<WriteProbe> probed, const FencePlan& plan) {
  try {
    const WriteProbe probe = probed.get();
    judge(probe, probe.read_only, "over an open session");
  } catch (const Error& error) {
    // A new agent has no session from before the gate was shut, and gets none. The attack over a new connection says
    // whether that is the gate's doing.
    if (!closes(plan) || error.code() != ErrorCode::unreachable) throw;
  }
}

/// Subscriptions of the plan that are still enabled: behind a shut gate there is no way to disable them twice.
void disable_subscriptions(Server& server, const FencePlan& plan, Duration deadline) {
  if (plan.subscriptions.empty()) return;
  std::vector<std::string> enabled;
  for (const Subscription& subscription : server.admin->fence_view(deadline).subscriptions) {
    if (std::ranges::find(plan.subscriptions, subscription.name) != plan.subscriptions.end()) {
      enabled.push_back(subscription.name);
    }
  }
  server.application->enable_subscriptions(enabled, false, deadline);
}

}  // namespace

std::string wedge_of(std::string_view cutover_id) {
  std::string name = fmt::format("{}{}", wedge_prefix, cutover_id);
  std::ranges::replace(name, '-', '_');  // a plain name needs no quotes in synchronous_standby_names
  return name;
}

std::string fence_in(const Overrides& settings) {
  const std::string& name = settings.standby_names.value_or("");
  return name.starts_with(wedge_prefix) ? name : "";
}

FenceSeen see_fence(Node& admin, const FenceView& view, Duration deadline) {
  FenceSeen seen{fence_in(view.overrides), {}};
  if (seen.in_force.empty()) seen.armed = fence_in(admin.overrides_in_file(deadline).value_or(Overrides()));
  return seen;
}

nlohmann::json FencePlan::to_json() const {
  return {{"form", to_string(form)},
          {"default_transaction_read_only", agent::to_json(before.read_only)},
          {"synchronous_standby_names", agent::to_json(before.standby_names)},
          {"databases", databases},
          {"subscriptions", subscriptions},
          {"owner", owner},
          {"wedge", wedge}};
}

FencePlan FencePlan::from_json(const nlohmann::json& json) {
  return {.form = json.at("form") == to_string(FenceForm::closed) ? FenceForm::closed : FenceForm::read_only,
          .before = {text_of(json.at("default_transaction_read_only")), text_of(json.at("synchronous_standby_names"))},
          .databases = json.at("databases"),
          .subscriptions = json.at("subscriptions"),
          .owner = json.at("owner"),
          .wedge = json.at("wedge")};
}

FenceChoice choose_fence(std::optional<FenceForm> wanted, const std::vector<Database>& databases) {
  if (wanted == FenceForm::read_only) return {FenceForm::read_only, "read-only, as asked for", {}};
  std::vector<std::string> foreign, grants, templates, unnameable;
  for (const Database& database : databases) {
    if (database.open && database.name.find(no_utf8) != std::string::npos) unnameable.push_back(database.name);
    if (!database.open || database.may_alter) continue;
    if (is_exempt(database)) {
      templates.push_back(database.name);
      continue;
    }
    foreign.push_back(database.name);
    if (std::ranges::find(grants, database.owner) == grants.end()) grants.push_back(database.owner);
  }
  if (!unnameable.empty() && (foreign.empty() || wanted)) {
    return {std::nullopt, fmt::format("out of reach: the name of {} is not in UTF-8", fmt::join(unnameable, ", ")),
            "alter database … rename to …, or --fence read-only"};
  }
  if (foreign.empty()) {
    std::string reason = "closed: nobody gets in";
    if (!templates.empty()) {
      reason += fmt::format(", but for the templates {}, which are read-only and not the agent's to close",
                            fmt::join(templates, ", "));
    }
    return {FenceForm::closed, reason, {}};
  }
  return {wanted ? std::nullopt : std::optional(FenceForm::read_only),
          fmt::format("{}: the agent's role is no member of the owner of {}",
                      wanted ? "closed is out of reach" : "read-only", fmt::join(foreign, ", ")),
          fmt::format("grant {} to the agent's role", fmt::join(grants, ", "))};
}

FencePlan plan_fence(const FenceView& view, const Options& options, std::string_view cutover_id) {
  const FenceChoice choice = choose_fence(options.fence, view.databases);
  if (!choice.form) throw Error(ErrorCode::permission_denied, "the fence is " + choice.reason, choice.hint);
  if (options.demotion == Demotion::closed && choice.form != FenceForm::closed) {
    throw Error(ErrorCode::permission_denied, "only a closed fence can stay closed, and it is " + choice.reason,
                choice.hint);
  }
  if (!view.prepared_transactions.empty()) {
    throw Error(ErrorCode::proof_failed,
                fmt::format("COMMIT PREPARED passes every read-only fence, and there are prepared transactions: {}",
                            fmt::join(view.prepared_transactions, ", ")),
                "commit or roll them back: select * from pg_prepared_xacts on the primary");
  }
  FencePlan plan{.form = *choice.form,
                 .before = view.overrides,
                 .databases = {},
                 .subscriptions = {},
                 .owner = {},
                 .wedge = wedge_of(cutover_id)};
  const std::string application = options.pair.old_primary.get("dbname");
  for (const Database& database : view.databases) {
    if (database.open && closes(plan) && !is_exempt(database)) plan.databases.push_back(database.name);
    if (database.name == application && database.may_alter) plan.owner = database.owner;
  }
  std::stable_partition(plan.databases.begin(), plan.databases.end(),
                        [&](const std::string& name) { return name == application; });
  const auto require_nameable = [](const std::string& name, std::string_view what) {
    if (name.find(no_utf8) == std::string::npos) return;
    throw Error(ErrorCode::permission_denied,
                fmt::format("no order can name {}, because its name is not in UTF-8: {}", what, name),
                "rename it: alter … rename to …");
  };
  require_nameable(plan.owner, "the owner of the application's database");
  for (const Subscription& subscription : view.subscriptions) {
    require_nameable(subscription.name, "a subscription");
    if (!subscription.may_alter || subscription.database != application) {
      throw Error(
          ErrorCode::permission_denied,
          fmt::format("subscription {} of database {} writes behind every fence, and the agent cannot disable it",
                      subscription.name, subscription.database),
          "alter subscription … disable, in its database, before the cutover");
    }
    plan.subscriptions.push_back(subscription.name);
  }
  return plan;
}

void rehearse_attack(Server& server, const FencePlan& plan, Duration deadline) {
  const WriteProbe got_in = attack(*server.application, plan, deadline, false).get();
  if (got_in.accepted) return;
  throw Error(ErrorCode::proof_failed,
              "the login that the attack on the fence needs fails even before the fence: " + got_in.refusal,
              "log in as the agent, with options='-c role=…' for the application's role");
}

Fence raise_fence(Server& server, const FencePlan& plan, bool paused, const Clock& clock, Duration budget) {
  const Mono end = clock.now() + budget;
  const auto left = [&] { return std::max<Duration>(end - clock.now(), std::min<Duration>(budget, shortest_call)); };
  Node& admin = *server.admin;
  disable_subscriptions(server, plan, left());
  admin.allow_connections(gated(plan), false, left() / 2).get();  // a lock on the catalog is found out early
  Fence fence;
  if (closes(plan)) {
    // A new client is sent against the fence as soon as it must hold, while the rest goes on.
    fence.attacked = attack(*server.application, plan, left());
    if (!paused) fence.attacked.wait();
  }
  // Behind a shut gate sessions end while the server reloads. Without one they would come back too early.
  Reload reload;
  std::set<int> asked;
  if (closes(plan)) {
    const EndingSessions first = admin.reload_and_end_sessions(plan.databases, left());
    reload.loaded_before = first.loaded;
    note_asked(asked, first);
  } else {
    reload = admin.order_reload(left());
    admin.await_reload(reload, left());
    fence.attacked = attack(*server.application, plan, left());
  }
  fence.sessions_ended = end_sessions(admin, plan, reload, std::move(asked), clock, end);
  return fence;
}

int end_gated_sessions(Server& server, const FencePlan& plan, const Clock& clock, Duration budget) {
  return end_sessions(*server.admin, plan, std::nullopt, {}, clock, clock.now() + budget);
}

void prove_layers(Server& server, const FencePlan& plan, const std::string& cutover_id, Duration deadline) {
  auto probed = server.application->write_probe(cutover_id, deadline);
  verify_layers(server.admin->fence_view(deadline), plan);
  judge_open_session(std::move(probed), plan);
}

void require_repulsed(Fence& fence, const FencePlan& plan) {
  if (fence.attacked.valid()) judge_attack(std::move(fence.attacked), plan);
}

void attack_fence(Server& server, const FencePlan& plan, const std::string& cutover_id, Duration deadline) {
  judge_open_session(server.application->write_probe(cutover_id, deadline), plan);
  judge_attack(attack(*server.application, plan, deadline), plan);
}

void disarm_fence(Server& server, const FencePlan& plan, Duration deadline) {
  Node& admin = *server.admin;
  const Overrides loaded = admin.fence_view(deadline).overrides;
  // Without the right to see the file, it is what was loaded, or what this cutover has written.
  const Overrides written =
      admin.overrides_in_file(deadline).value_or(loaded == plan.before ? plan.settings() : loaded);
  Overrides restored = written;
  if (written.read_only == plan.settings().read_only) restored.read_only = plan.before.read_only;
  if (written.standby_names == plan.wedge) restored.standby_names = plan.before.standby_names;
  if (written.standby_names != plan.wedge && !fence_in(written).empty()) {
    throw Error(ErrorCode::undecided, "the settings there are those of another fence, " + fence_in(written));
  }
  // Somebody else may have reloaded already. And without the right to read the file it is not known what it says.
  if (restored != written || restored != loaded) {
    admin.alter_system(restored, deadline);
    admin.reload(deadline);
  }
  if (!fence_in(admin.fence_view(deadline).overrides).empty()) {
    throw Error(ErrorCode::undecided, "the settings of a fence are still in force");
  }
}

void lift_fence(Server& server, const FencePlan& plan, const Clock& clock, Duration deadline) {
  Node& admin = *server.admin;
  std::vector<std::string> left;
  const auto lift = [&left](const std::string& layer, const std::function<void()>& work) {
    try {
      work();
      return true;
    } catch (const std::exception& failure) {
      left.push_back(layer + ": " + failure.what());
      return false;
    }
  };
  const FenceView view = admin.fence_view(deadline);
  const std::vector<std::string> closed = closed_by(plan, view);
  if (!lift("databases", [&] { admin.allow_connections(closed, true, deadline / 2).get(); })) {
    left.clear();  // one of them is in the way: the others are not kept closed by it
    const Mono end = clock.now() + deadline;
    for (const std::string& name : closed) {
      lift("database " + name, [&] {
        const Duration rest = name == closed.front() ? deadline / 2 : end - clock.now();
        if (rest <= Duration::zero()) throw Error(ErrorCode::timeout, "the others have taken all the time");
        admin.allow_connections({name}, true, std::min(rest, std::max(deadline / 4, shortest_call))).get();
      });
    }
  }
  lift("settings", [&] { disarm_fence(server, plan, deadline); });
  for (const std::string& name : plan.subscriptions) {
    if (std::ranges::find(view.subscriptions, name, &Subscription::name) != view.subscriptions.end()) continue;
    lift("subscription " + name, [&] { server.application->enable_subscriptions({name}, true, deadline); });
  }
  if (left.empty()) {
    lift("proof", [&] {
      const WriteProbe probe =
          server.application->attack({.role = plan.owner, .overrides_read_only = false, .writes = true}, deadline)
              .get();
      if (!probe.accepted) throw Error(ErrorCode::proof_failed, "it still refuses writes: " + probe.refusal);
    });
  }
  if (left.empty()) return;
  throw Error(ErrorCode::undecided, fmt::format("not lifted: {}", fmt::join(left, "; ")),
              "agent recover tries again; if a file cannot be loaded: select sourcefile, sourceline, error from "
              "pg_file_settings where error is not null");
}

void lift_replicated_fence(Server& server, const FencePlan& plan, Duration deadline) {
  server.admin->allow_connections(gated(plan), true, deadline).get();
  server.application->enable_subscriptions(plan.subscriptions, true, deadline);
}

std::string_view strength_of(Demotion demotion) {
  struct Row {
    Demotion demotion;
    std::string_view words;
  };
  static constexpr std::array table{
      Row{Demotion::read_only,
          "the old primary is open for reading. A client that asks for READ WRITE can still write there. Its commit "
          "waits "
          "for a standby that does not exist. The client is told that the commit succeeded if it cancels the wait, or "
          "if its synchronous_commit is off or local. The new primary does not have such writes: stop the old "
          "server, or make it a standby, before you rely on it"},
      Row{Demotion::closed,
          "the application's databases are closed on the old primary until somebody with the owner's rights opens "
          "them. A client whose host list names it first does not get past it"},
      Row{Demotion::stop, "the old primary is stopped: nobody writes to it until somebody starts it"},
      Row{Demotion::standby, "the old primary is a standby of the new one: nobody can override that"},
  };
  return std::ranges::find(table, demotion, &Row::demotion)->words;
}

}  // namespace pgrm::agent
