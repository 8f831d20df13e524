#include "agent/warm/survey.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "core/base/error.h"

namespace pgrm::agent {
namespace {

constexpr std::int64_t longest_range = 1 << 20;  // bytes
constexpr double guessed_rate = 100;             // megabytes per second: of an ordinary cloud disk

/// Buffers of a server, or why they are not seen.
struct BuffersSeen {
  std::string database;  // from which they are seen
  BufferTools tools;
  std::optional<std::vector<Chunk>> kept;
  std::string problem, hint;
};

std::string shell_word(const std::string& text) {
  constexpr auto harmless = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
  if (!text.empty() && text.find_first_not_of(harmless) == std::string::npos) return text;
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

std::string to_type(const Conninfo& primary, const std::string& database, const std::string& statement) {
  return fmt::format("on {} as a superuser: psql -d {} -c '{}'", primary.address(), shell_word(database), statement);
}

/// Both come to the future primary by replication.
void explain(const ExtensionFunction& function, const char* extension, const Conninfo& primary,
             const std::string& database, std::string& problem, std::string& hint) {
  if (!function.installed) {
    problem = fmt::format("{} is not installed in {}", extension, database);
    hint = to_type(primary, database, fmt::format("CREATE EXTENSION {}", extension));
  } else if (function.name.empty()) {
    problem = fmt::format("what is called {} in {} is not the extension as PostgreSQL has it", extension, database);
    hint = "it is not called: look at \\dx+ " + std::string(extension) + ", drop it and create it anew";
  } else if (!function.may) {
    problem = fmt::format("{} may not call {}() in {}", primary.get("user"), function.name, database);
    hint = to_type(primary, database, function.grant);
  }
}

/// A database costs a session: with hundreds of them nobody waits for all.
constexpr std::size_t most_databases = 8;

/// pg_buffercache shows the whole server wherever it is installed. `first`: where to look first.
BuffersSeen see_buffers(const Server& server, const Conninfo& old_primary, const std::string& first,
                        Duration deadline) {
  BuffersSeen seen;
  std::vector<std::string> names{first};
  const std::string application = old_primary.get("dbname");
  if (application != first) names.push_back(application);
  for (std::size_t i = 0; i < names.size(); ++i) {
    try {
      const auto session = server.buffers(names[i]);
      const BufferTools tools = session->tools(deadline);
      if (i == 0) {
        seen.tools = tools;
        for (const auto& [oid, name] : tools.databases) {
          if (name != first && name != application && names.size() < most_databases) names.push_back(name);
        }
      }
      if (tools.buffercache.usable()) {
        seen.database = names[i];
        seen.kept = session->kept(deadline);
        seen.problem.clear();
        return seen;
      }
      if (seen.problem.empty() || tools.buffercache.installed) {
        explain(tools.buffercache, "pg_buffercache", old_primary, names[i], seen.problem, seen.hint);
      }
    } catch (const Error& error) {
      if (i == 0 || !seen.database.empty()) throw;  // another database may let nobody in
    }
  }
  return seen;
}

/// Of databases that take connections, and of shared catalogs.
std::vector<Chunk> of_open_databases(std::vector<Chunk> chunks, const BufferTools& tools) {
  std::erase_if(chunks, [&](const Chunk& chunk) {
    return chunk.file.database != 0 && !tools.databases.contains(chunk.file.database);
  });
  return chunks;
}

/// By the statistics of every database that lets the agent in.
std::vector<Chunk> by_statistics(const Server& server, const BufferTools& tools, std::int64_t most, Duration deadline) {
  std::vector<Chunk> all;
  for (const auto& [oid, name] : tools.databases) {
    try {
      const std::vector<Chunk> chunks = server.buffers(name)->asked_for(most, deadline);
      all.insert(all.end(), chunks.begin(), chunks.end());
    } catch (const Error&) {  // what is not seen is not warmed
    }
  }
  return all;
}

WarmDatabase open_database(const Server& server, const Conninfo& primary, const std::string& name, Duration deadline) {
  WarmDatabase database{.name = name};
  try {
    auto session = server.buffers(name);
    const BufferTools tools = session->tools(deadline);
    explain(tools.prewarm, "pg_prewarm", primary, name, database.problem, database.hint);
    if (tools.prewarm.usable() || tools.can_read) {
      database.session = std::move(session);
      database.way = tools.prewarm.usable() ? "pg_prewarm" : "tables only";
    }
  } catch (const Error& error) {
    database.problem = error.what();
    database.hint = error.hint();
  }
  return database;
}

WarmLimits limits_of(const BufferTools& future) {
  return {.room = future.shared_buffers, .longest = std::max<std::int64_t>(1, longest_range / future.block_size)};
}

}  // namespace

Warmth how_warm(const Server& old_primary, const Server& future_primary, const PairByRole& pair, Duration deadline) {
  Warmth warmth;
  try {
    BuffersSeen old = see_buffers(old_primary, pair.old_primary, pair.maintenance_database, deadline);
    if (!old.kept) return {.problem = old.problem, .hint = old.hint};
    const BuffersSeen future = see_buffers(future_primary, pair.old_primary, old.database, deadline);
    if (!future.kept) return {.problem = future.problem, .hint = future.hint};
    const WarmPlan plan =
        make_warm_plan(of_open_databases(std::move(*old.kept), old.tools), *future.kept, limits_of(future.tools));
    const std::int64_t size = old.tools.block_size;
    return {plan.wanted * size, plan.held * size, plan.to_load * size, plan.no_room * size, {}, {}};
  } catch (const Error& error) {
    return {.problem = error.what(), .hint = error.hint()};
  }
}

WarmSurvey survey_buffers(const Server& old_primary, const Server& future_primary, const PairByRole& pair,
                          Duration deadline) {
  WarmSurvey survey;
  BuffersSeen old = see_buffers(old_primary, pair.old_primary, pair.maintenance_database, deadline);
  const auto advise = [&survey](const std::string& problem, const std::string& hint) {
    survey.advice.push_back(hint.empty() ? problem : problem + "; " + hint);
  };
  BuffersSeen future;
  try {
    future =
        see_buffers(future_primary, pair.old_primary, old.kept ? old.database : pair.maintenance_database, deadline);
  } catch (const Error& error) {  // the extension came by replication, and its library may be missing there
    future = {};
    future.tools = future_primary.buffers(pair.maintenance_database)->tools(deadline);
    future.problem = error.what();
    future.hint = "install PostgreSQL's contrib modules on " + pair.new_primary.host();
  }
  survey.block_size = old.tools.block_size;
  survey.source = old.kept ? "pg_buffercache" : "pg_statio";
  survey.held_known = future.kept.has_value();
  if (!old.kept) {
    advise(old.problem, old.hint);
  } else if (!future.kept) {
    advise(future.problem, future.hint);
  }
  std::vector<Chunk> wanted = old.kept ? of_open_databases(std::move(*old.kept), old.tools)
                                       : by_statistics(old_primary, old.tools, future.tools.shared_buffers, deadline);
  survey.plan = make_warm_plan(std::move(wanted), future.kept.value_or(std::vector<Chunk>()), limits_of(future.tools));
  for (const BlockRange& range : survey.plan.ranges) {
    const std::uint32_t oid = range.file.database;
    auto found = survey.databases.find(oid);
    if (found == survey.databases.end()) {
      const std::string name = oid == 0 ? pair.maintenance_database : old.tools.databases.at(oid);
      found = survey.databases.emplace(oid, open_database(future_primary, pair.old_primary, name, deadline)).first;
    }
    found->second.to_load += range.count();
  }
  std::set<std::string> told;
  for (const auto& [oid, database] : survey.databases) {
    if (!database.problem.empty() && told.insert(database.name).second) advise(database.problem, database.hint);
  }
  return survey;
}

std::string warming_time(std::int64_t bytes, double rate) {
  const double assumed = rate > 0 ? rate : guessed_rate;
  return fmt::format("{} at {:g} MB/s", human(from_seconds(static_cast<double>(bytes) / 1e6 / assumed)), assumed);
}

}  // namespace pgrm::agent
