// What the application or somebody else would lose.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "agent/checks/groups.h"
#include "agent/checks/judging.h"
#include "agent/fence/fence.h"

namespace pgrm::agent {
namespace {

Verdict read_only_exceptions(const Facts& facts) {
  const auto& names = facts.primary.read_only_exceptions;
  if (!names.empty()) {
    return fail(
        fmt::format("{} sets default_transaction_read_only itself, which overrides the fence", fmt::join(names, ", ")),
        "alter role … [in database …] reset default_transaction_read_only, or alter database … reset …");
  }
  return pass("no role or database has a read-only setting of its own");
}

Verdict wedge(const Facts& facts) {
  std::vector<std::string> names = facts.primary.wedge_exceptions;
  const std::string everywhere = setting_of(facts.primary, "synchronous_commit");
  if (everywhere == "off" || everywhere == "local") names.insert(names.begin(), "the server");
  if (names.empty()) return pass("every commit waits for standbys");
  const std::string observed = fmt::format("synchronous_commit is off or local for {}", fmt::join(names, ", "));
  const char* const by_itself = "a client that asks for READ WRITE by itself";
  if (choose_fence(facts.fence, facts.primary.facts->databases).form != FenceForm::closed) {
    return fail(fmt::format("{}: {} can write behind a read-only fence, and the new primary will not have it", observed,
                            by_itself),
                "set it to on until the cutover is done, or make a closed fence possible: see fence_form");
  }
  if (facts.demotion == Demotion::read_only) {
    return warn(fmt::format("{}: {} could write to the demoted server, where nobody looks", observed, by_itself),
                "set it to on for the cutover, or choose --demote closed, stop or standby");
  }
  return pass(observed + "; the fence is closed, and the old primary stays so");
}

Verdict prepared_transactions(const Facts& facts) {
  const int count = facts.primary.facts->prepared_transactions;
  if (count > 0) {
    return fail(fmt::format("{} prepared transactions, required: none; they could commit behind the fence", count),
                "commit or roll them back: select * from pg_prepared_xacts on the primary");
  }
  return pass("none");
}

Verdict long_transactions(const Facts& facts) {
  const auto oldest = facts.primary.facts->oldest_transaction;
  if (oldest && *oldest > std::chrono::seconds(5)) {
    return warn(fmt::format("a transaction is open for {}: the fence will end it", human(*oldest)),
                "select pid, usename, xact_start, query from pg_stat_activity order by xact_start on the primary");
  }
  return pass(oldest ? "the oldest is " + human(*oldest) : "none open");
}

Verdict idle_transactions(const Facts& facts) {
  const int count = facts.primary.facts->idle_in_transaction;
  if (count > 0) {
    return warn(
        fmt::format("{} sessions idle in a transaction for more than 5 s: the fence will end them", count),
        "select pid, usename, state_change, query from pg_stat_activity where state like 'idle in transaction%' "
        "on the primary");
  }
  return pass("none");
}

Verdict advisory_locks(const Facts& facts) {
  const int count = facts.primary.facts->advisory_lock_sessions;
  if (count > 0) {
    return warn(
        fmt::format("{} sessions hold advisory locks, which end with them and do not move", count),
        "select * from pg_locks where locktype = 'advisory' on the primary: their programs must take them anew");
  }
  return pass("none held");
}

Verdict unlogged_tables(const Facts& facts) {
  const auto names = in_every_database(facts.primary, &DatabaseFacts::unlogged_tables);
  if (!names.empty()) {
    return warn(fmt::format("unlogged, so empty on the new primary: {}", fmt::join(names, ", ")),
                "alter table … set logged, if the rows are needed");
  }
  return pass("none");
}

Verdict invalid_indexes(const Facts& facts) {
  const auto names = in_every_database(facts.primary, &DatabaseFacts::invalid_indexes);
  if (!names.empty()) {
    return warn(fmt::format("invalid on both servers: {}", fmt::join(names, ", ")),
                "reindex index concurrently …, or drop it");
  }
  return pass("none");
}

/// What streams from the primary besides the replica.
std::vector<const Standby*> others(const Facts& facts) {
  std::vector<const Standby*> rows;
  const Standby* const paired = paired_standby(facts.sample);
  for (const Standby& row : primary_state(facts).standbys) {
    if (&row != paired) rows.push_back(&row);
  }
  return rows;
}

std::string names_of(const std::vector<const Standby*>& rows) {
  std::vector<std::string> names;
  for (const Standby* const row : rows) names.push_back(row->name.empty() ? "without a name" : row->name);
  return fmt::format("{}", fmt::join(names, ", "));
}

Verdict other_standbys(const Facts& facts) {
  for (const auto& sibling : facts.siblings) {
    if (!sibling.problem.empty()) {
      return fail(fmt::format("{} cannot follow: {}", sibling.name, sibling.problem),
                  "fix it, or leave it out of --follow-siblings");
    }
  }
  const auto rows = others(facts);
  if (rows.size() > facts.siblings.size()) {
    const bool stays_shut = facts.demotion == Demotion::closed;
    return warn(
        fmt::format(
            "{} stream from the primary, {} will follow: {}{}", rows.size(), facts.siblings.size(), names_of(rows),
            stays_shut ? "; clients cannot log in to those that stay, because the gate of --demote closed replicates"
                       : ""),
        "--follow-siblings \"host=… port=…\" makes standbys follow; anything else must be moved by hand");
  }
  return pass(rows.empty() ? "none" : fmt::format("{} will follow", names_of(rows)));
}

Verdict shutdown(const Facts& facts) {
  if (!needs_node_control(facts.demotion)) return pass("the old primary is not shut down");
  const auto rows = others(facts);
  if (rows.size() > facts.siblings.size()) {
    return warn(fmt::format("a shutdown waits until these have received everything: {}", names_of(rows)),
                "stop or move them, or the old primary is down only after wal_sender_timeout");
  }
  return pass("nothing else delays a shutdown");
}

Verdict superuser_sessions(const Facts& facts) {
  const int count = facts.primary.facts->superuser_sessions;
  if (count > 0 && !facts.primary.facts->superuser) {
    return fail(
        fmt::format("{} sessions of superusers that are older than 5 s, which the agent's role cannot end", count),
        "close them: select pid, usename, application_name from pg_stat_activity on the primary");
  }
  return pass(fmt::format("{} other sessions of superusers", count));
}

Verdict subscriptions(const Facts& facts) {
  std::vector<std::string> ours, others;
  for (const Subscription& subscription : facts.primary.facts->subscriptions) {
    const bool reach = subscription.may_alter && subscription.database == facts.database;
    (reach ? ours : others).push_back(subscription.name + " of " + subscription.database);
  }
  if (!others.empty()) {
    return fail(fmt::format("enabled subscriptions that the agent cannot disable: {}", fmt::join(others, ", ")),
                "alter subscription … disable, in its database on the primary");
  }
  if (ours.empty()) return pass("none enabled");
  return warn(fmt::format("the fence disables {}, and the new primary enables them", fmt::join(ours, ", ")),
              "see that the publisher can be reached from the new primary");
}

/// Whether the replica has the slot, too, and no later position in it than its consumer. Until 16 a person has made it
/// there, and from 17 on (failover slots) the server, which never puts it further ahead.
bool is_on_replica(const Facts& facts, const std::string& name) {
  const auto& there = facts.replica.facts->logical_slots;
  if (std::ranges::find(there, name) == there.end()) return false;
  if (primary_state(facts).version >= 170000) return true;
  const auto position = [&name](const ServerState& state) {
    const auto slot = std::ranges::find(state.slots, name, &Slot::name);
    return slot == state.slots.end() ? std::nullopt : slot->confirmed_flush;
  };
  const auto begins = position(replica_state(facts));  // unknown while the slot is still being made
  return begins && begins <= position(primary_state(facts));
}

Verdict logical_slots(const Facts& facts) {
  const auto& slots = facts.primary.facts->logical_slots;
  if (slots.empty()) return pass("none");
  std::vector<std::string> lost;
  std::ranges::copy_if(slots, std::back_inserter(lost),
                       [&facts](const std::string& name) { return !is_on_replica(facts, name); });
  if (!lost.empty()) {
    const std::string observed = fmt::format("logical slots do not move with the cutover: {}", fmt::join(lost, ", "));
    if (facts.lose_logical_slots)
      return warn(observed, "make them anew on the new primary, and copy their tables anew");
    const int version = primary_state(facts).version;
    const char* const how =
        version >= 170000   ? "create them with failover = true and set sync_replication_slots = on on the replica; or "
        : version >= 160000 ? "make slots of the same names on the replica, and let their consumers get past them; or "
                            : "";
    return fail(observed, fmt::format("{}--lose-logical-slots, and their consumers begin anew", how));
  }
  const std::string awaited = setting_of(facts.replica, "synchronized_standby_slots");
  if (awaited.empty() || (facts.demotion == Demotion::standby && awaited == facts.standby_slot)) {
    return pass(fmt::format("on the replica, too: {}", fmt::join(slots, ", ")));
  }
  return warn(fmt::format("their consumers get nothing from the new primary until a standby streams from its slot {} "
                          "(synchronized_standby_slots of the replica)",
                          awaited),
              "empty that setting on the replica, or --demote standby --standby-slot " + awaited);
}

/// The agent's row in the new primary goes to every subscriber of such a publication.
Verdict publications(const Facts& facts) {
  const auto& names = facts.primary.database->probe_publications;
  if (names.empty()) return pass("none has the agent's table in it");
  const std::string observed = fmt::format("pgrm.cutover_probe is published by {}", fmt::join(names, ", "));
  if (facts.primary.facts->logical_slots.empty()) return pass(observed + ", and nobody consumes them");
  return warn(observed + ": a subscription without that table stops at the agent's row",
              "make the table on the subscriber, with the same columns");
}

/// pg_stat_activity.backend_type of PostgreSQL's own, 13 to 18.
constexpr std::array own_backends{
    "archiver",       "autovacuum launcher", "autovacuum worker", "background writer", "checkpointer",
    "client backend", "io worker",           "parallel worker",   "slotsync worker",   "standalone backend",
    "startup",        "walreceiver",         "walsender",         "walsummarizer",     "walwriter",
};

bool is_own(const std::string& backend) {
  return backend.starts_with("logical replication ") || std::ranges::find(own_backends, backend) != own_backends.end();
}

Verdict background_workers(const Facts& facts) {
  std::vector<std::string> others;
  std::ranges::copy_if(facts.primary.facts->traces.backends, std::back_inserter(others),
                       [](const std::string& backend) { return !is_own(backend); });
  if (others.empty()) return pass("none but PostgreSQL's own");
  return warn(fmt::format("no fence holds background workers: {}", fmt::join(others, ", ")),
              "stop their jobs for the cutover: what they write behind the fence stays on the old primary");
}

constexpr std::array table{
    Check{"loss", "prepared_transactions", "COMMIT PREPARED passes every read-only fence", primary,
          prepared_transactions},
    Check{"loss", "read_only_exceptions", "a role's or database's own setting overrides the fence", primary,
          read_only_exceptions},
    Check{"loss", "wedge", "a commit that waits for no standby passes the wedge of a read-only fence", primary, wedge},
    Check{"loss", "long_transactions", "the fence ends what is open", primary, long_transactions},
    Check{"loss", "idle_transactions", "what a session has not committed is lost", primary, idle_transactions},
    Check{"loss", "advisory_locks", "an advisory lock lives and dies with its session", primary, advisory_locks},
    Check{"loss", "unlogged_tables", "unlogged tables do not replicate", primary | databases, unlogged_tables},
    Check{"loss", "invalid_indexes", "an index that failed to build is invalid on both servers", primary | databases,
          invalid_indexes},
    Check{"loss", "background_workers", "a worker of an extension writes behind every fence", primary,
          background_workers},
    Check{"loss", "other_standbys", "other standbys stay with the old primary", both, other_standbys},
    Check{"loss", "shutdown", "a shutdown waits for every standby that streams", both, shutdown},
    Check{"loss", "superuser_sessions", "the fence must be able to end every session", primary, superuser_sessions},
    Check{"loss", "subscriptions", "apply workers write behind the fence", primary, subscriptions},
    Check{"loss", "logical_slots", "consumers of logical replication lose their place", both, logical_slots},
    Check{"loss", "publications", "a subscriber must know the agent's table", primary | databases, publications},
};

}  // namespace

std::span<const Check> loss_checks() { return table; }

}  // namespace pgrm::agent
