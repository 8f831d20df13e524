#include "core/pg/buffers.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/json_text.h"
#include "core/pg/session.h"
#include "core/pg/session_settings.h"

namespace pgrm {
namespace {

constexpr Statement ask_tools{"pgrm_buffer_tools", R"sql(
SELECT (SELECT oid FROM pg_database WHERE datname = current_database())::int8 AS database,
       current_setting('block_size') AS block_size,
       (SELECT setting FROM pg_settings WHERE name = 'shared_buffers') AS shared_buffers,
       to_regprocedure('pg_catalog.currtid2(text,tid)') IS NOT NULL AS can_read,
       (SELECT json_object_agg(oid::text, datname) FROM pg_database
         WHERE datallowconn AND datname NOT IN ('template0', 'template1')) AS databases)sql"};

// Summed up by the server, since it may have millions: hashing them is cheaper than sorting them.
constexpr auto ask_kept = R"sql(
SELECT reldatabase::int8 AS database, reltablespace::int8 AS tablespace, relfilenode::int8 AS file, relforknumber AS fork,
       relblocknumber / 64 AS chunk, bit_or(1::int8 << (relblocknumber % 64)::int4) AS blocks, avg(usagecount) AS heat
  FROM {}() AS b (bufferid int4, relfilenode oid, reltablespace oid, reldatabase oid, relforknumber int2,
                  relblocknumber int8, isdirty bool, usagecount int2, pinning_backends int4)
 WHERE relfilenode IS NOT NULL
 GROUP BY 1, 2, 3, 4, 5)sql";

// A table's file, its TOAST table's and its indexes' have counters of their own.
constexpr Statement ask_asked_for{"pgrm_asked_for", R"sql(
WITH asked (relation, times) AS (
       SELECT relid, heap_blks_read + heap_blks_hit FROM pg_statio_all_tables
       UNION ALL
       SELECT c.reltoastrelid, s.toast_blks_read + s.toast_blks_hit
         FROM pg_statio_all_tables AS s JOIN pg_class AS c ON c.oid = s.relid WHERE c.reltoastrelid <> 0
       UNION ALL
       SELECT indexrelid, idx_blks_read + idx_blks_hit FROM pg_statio_all_indexes),
     sized AS (
       SELECT (SELECT oid FROM pg_database WHERE datname = current_database()) AS database,
              CASE WHEN c.reltablespace <> 0 THEN c.reltablespace
                   ELSE (SELECT dattablespace FROM pg_database WHERE datname = current_database()) END AS tablespace,
              pg_relation_filenode(c.oid) AS file, a.times,
              pg_relation_size(c.oid, 'main') / current_setting('block_size')::int8 AS blocks
         FROM asked AS a JOIN pg_class AS c ON c.oid = a.relation
        WHERE a.times > 0 AND NOT c.relisshared AND c.relpersistence = 'p')
SELECT database::int8 AS database, tablespace::int8 AS tablespace, file::int8 AS file, blocks, times::float8 / blocks AS heat
  FROM sized WHERE blocks > 0 AND file IS NOT NULL
 ORDER BY heat DESC LIMIT 10000)sql"};

// pg_filenode_relation() finds the relation as it is now: one that was rewritten meanwhile is no longer found. Rights
// are asked beforehand, as pg_prewarm asks for them: on an index itself before the minor releases of late 2025, on its
// table since.
constexpr auto order_load = R"sql(
WITH asked AS MATERIALIZED (
       SELECT r.*, pg_filenode_relation(r.tablespace, r.file) AS relation
         FROM unnest($1::oid[], $2::oid[], $3::text[], $4::int8[], $5::int8[]) AS r (tablespace, file, fork, first, last)),
     found AS MATERIALIZED (
       SELECT a.relation, a.fork, a.first, c.relkind, format('%I.%I', n.nspname, c.relname) AS name,
              least(a.last, pg_relation_size(a.relation, a.fork) / current_setting('block_size')::int8 - 1) AS last,
              has_table_privilege(a.relation, 'SELECT') AND has_table_privilege(coalesce(i.indrelid, a.relation), 'SELECT')
                AND {may} AS may, {can} AS can
         FROM asked AS a JOIN pg_class AS c ON c.oid = a.relation JOIN pg_namespace AS n ON n.oid = c.relnamespace
              LEFT JOIN pg_index AS i ON i.indexrelid = a.relation)
SELECT coalesce(sum(CASE WHEN can AND may AND last >= first THEN {load} END), 0) AS loaded,
       coalesce(sum(last - first + 1) FILTER (WHERE can AND NOT may AND last >= first), 0) AS denied,
       coalesce(sum(last - first + 1) FILTER (WHERE NOT can AND last >= first), 0) AS unreadable
  FROM found)sql";

/// How a range is loaded. A SELECT from the table would not do without pg_prewarm: planning it evaluates expressions of
/// its indexes, which are the application's code. currtid2() plans nothing: it reads one block for a tuple's address,
/// whether there is a tuple or not, and returns an address.
std::string load_sql(const BufferTools& tools) {
  if (tools.prewarm.usable()) {
    return fmt::format(fmt::runtime(order_load), fmt::arg("may", "true"), fmt::arg("can", "true"),
                       fmt::arg("load", tools.prewarm.name + "(relation, 'buffer'::text, fork, first, last)"));
  }
  if (!tools.can_read) throw Error(ErrorCode::query_failed, "neither pg_prewarm nor currtid2() can be called");
  return fmt::format(fmt::runtime(order_load), fmt::arg("may", "has_schema_privilege(c.relnamespace, 'USAGE')"),
                     fmt::arg("can", "c.relkind IN ('r', 'm', 't') AND a.fork = 'main'"),
                     fmt::arg("load",
                              "(SELECT count(pg_catalog.currtid2(name, format('(%s,1)', block)::tid)) FROM "
                              "generate_series(first, last) AS block)"));
}

std::uint32_t oid(const std::optional<std::int64_t>& value) { return static_cast<std::uint32_t>(value.value_or(0)); }

class ServerBuffers final : public Buffers {
 public:
  ServerBuffers(const Conninfo& server, const NodeOptions& options)
      : session_(server, options.application_name, options.told), options_(options) {}

  BufferTools tools(Duration deadline) override {
    open(deadline);
    const Rows answer = session_.execute(ask_tools, {}, deadline);
    const auto row = answer.one();
    const auto functions = find_extension_functions(session_,
                                                    {{"pg_buffercache", "pg_buffercache_pages", ""},
                                                     {"pg_prewarm", "pg_prewarm", "regclass text text bigint bigint"}},
                                                    deadline);
    BufferTools tools{.database = oid(row.integer("database")),
                      .block_size = row.integer("block_size").value(),
                      .shared_buffers = row.integer("shared_buffers").value(),
                      .buffercache = functions[0],
                      .prewarm = functions[1],
                      .can_read = row.boolean("can_read").value(),
                      .databases = {}};
    const auto databases = nlohmann::json::parse(valid_utf8(row.text("databases").value_or("{}")));
    for (const auto& [number, name] : databases.items()) {
      tools.databases[static_cast<std::uint32_t>(std::stoul(number))] = name;
    }
    tools_ = tools;
    return tools;
  }

  std::vector<Chunk> kept(Duration deadline) override {
    const std::string name = known_tools(deadline).buffercache.name;
    const Rows rows = session_.script(fmt::format(fmt::runtime(ask_kept), name), deadline);
    std::vector<Chunk> chunks;
    chunks.reserve(rows.size());
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto row = rows[i];
      chunks.push_back({file(row, static_cast<int>(row.integer("fork").value())), row.integer("chunk").value(),
                        static_cast<std::uint64_t>(row.integer("blocks").value()), row.real("heat").value()});
    }
    return chunks;
  }

  std::vector<Chunk> asked_for(std::int64_t most, Duration deadline) override {
    open(deadline);
    const Rows rows = session_.execute(ask_asked_for, {}, deadline);
    std::vector<Chunk> chunks;
    for (std::size_t i = 0; i < rows.size() && most > 0; ++i) {
      const auto row = rows[i];
      std::int64_t left = row.integer("blocks").value();
      for (std::int64_t number = 0; left > 0 && most > 0; ++number) {
        const std::int64_t blocks = std::min({left, most, Chunk::width});
        chunks.push_back(
            {file(row, 0), number, ~std::uint64_t{0} >> (Chunk::width - blocks), row.real("heat").value()});
        left -= blocks;
        most -= blocks;
      }
    }
    return chunks;
  }

  Loaded load(std::span<const BlockRange> ranges, Duration deadline) override {
    if (load_sql_.empty()) load_sql_ = load_sql(known_tools(deadline));
    open(deadline);
    const Rows rows = session_.execute({"pgrm_load", load_sql_.c_str()}, arrays(ranges), deadline);
    const auto row = rows.one();
    return {row.integer("loaded").value(), row.integer("denied").value(), row.integer("unreadable").value()};
  }

 private:
  static RelationFile file(const Rows::Row& row, int fork) {
    return {oid(row.integer("database")), oid(row.integer("tablespace")), oid(row.integer("file")), fork};
  }

  static Params arrays(std::span<const BlockRange> ranges) {
    std::array<std::string, 5> columns;
    const auto append = [&columns](std::size_t column, const auto& value) {
      columns.at(column) += fmt::format("{}{}", columns.at(column).empty() ? '{' : ',', value);
    };
    for (const BlockRange& range : ranges) {
      append(0, range.file.tablespace);
      append(1, range.file.file);
      append(2, fork_names[range.file.fork]);
      append(3, range.first);
      append(4, range.last);
    }
    Params params;
    for (const std::string& column : columns) params.emplace_back(column.empty() ? "{}" : column + '}');
    return params;
  }

  const BufferTools& known_tools(Duration deadline) {
    if (!tools_) tools(deadline);
    open(deadline);
    return *tools_;
  }

  void open(Duration deadline) { open_with_settings(session_, options_.observer_timeout, deadline); }

  Session session_;
  NodeOptions options_;
  std::optional<BufferTools> tools_;
  std::string load_sql_;
};

}  // namespace

std::unique_ptr<Buffers> make_buffers(const Conninfo& server, const NodeOptions& options) {
  return std::make_unique<ServerBuffers>(server, options);
}

}  // namespace pgrm
