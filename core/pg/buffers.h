// What a server keeps in its shared buffers, and how a part of a relation gets there. Real: make_buffers().
// Fake: tests/fakes/fake_buffers.h.
#pragma once

#include <bit>
#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/base/clock.h"
#include "core/pg/conninfo.h"
#include "core/pg/extension_functions.h"
#include "core/pg/server_node.h"

namespace pgrm {

/// One fork of a relation's file. A physical standby has the same names for the same blocks.
struct RelationFile {
  std::uint32_t database = 0;  // its oid; 0: a catalog that all databases share
  std::uint32_t tablespace = 0, file = 0;
  int fork = 0;  // index into fork_names

  auto operator<=>(const RelationFile&) const = default;  // NOLINT(modernize-use-nullptr): version 14 misreads it
};
inline constexpr const char* fork_names[] = {"main", "fsm", "vm", "init"};

/// 64 blocks of a file that lie side by side: those that are meant, as bits, and how much they are used.
struct Chunk {
  static constexpr std::int64_t width = 64;

  RelationFile file;
  std::int64_t number = 0;  // its first block is number * width
  std::uint64_t blocks = 0;
  double heat = 0;  // mean usage count, or whatever else orders chunks

  int count() const { return std::popcount(blocks); }
};

/// Blocks that lie side by side, both ends included.
struct BlockRange {
  RelationFile file;
  std::int64_t first = 0, last = 0;

  std::int64_t count() const { return last - first + 1; }
  bool operator==(const BlockRange&) const = default;
};

/// What a server offers for a look at its buffers, seen from this session's database.
struct BufferTools {
  std::uint32_t database = 0;  // this session's, by oid
  std::int64_t block_size = 8192;
  std::int64_t shared_buffers = 0;                 // in blocks
  ExtensionFunction buffercache;                   // pg_buffercache_pages()
  ExtensionFunction prewarm;                       // pg_prewarm()
  bool can_read = false;                           // blocks of tables can be read without pg_prewarm, see load()
  std::map<std::uint32_t, std::string> databases;  // those of clients that take connections
};

/// How loading ranges went, in blocks. The rest is not there any more: dropped, rewritten, truncated.
struct Loaded {
  std::int64_t loaded = 0;
  std::int64_t denied = 0;      // this role lacks SELECT on the relation
  std::int64_t unreadable = 0;  // without pg_prewarm only tables can be read
};

/// A session in one database of one server, which cannot write. Every call opens it when there is none. Not
/// thread-safe. No function but PostgreSQL's own and the two extensions' is ever run by it. All throw Error:
/// unreachable, authentication, timeout, connection_lost, permission_denied, query_failed.
class Buffers {
 public:
  virtual ~Buffers() = default;
  virtual BufferTools tools(Duration deadline) = 0;
  /// What the whole server keeps, of all databases. REQUIRES: tools().buffercache is usable.
  virtual std::vector<Chunk> kept(Duration deadline) = 0;
  /// Relations of this database by how often their blocks were asked for since statistics began (pg_statio), whole
  /// ones, at most `most` blocks: the hottest per block first.
  virtual std::vector<Chunk> asked_for(std::int64_t most, Duration deadline) = 0;
  /// Reads these blocks of this database, or of shared catalogs, into the server's buffers. With pg_prewarm where it is
  /// usable, else through tuples of tables (see buffers.cc).
  virtual Loaded load(std::span<const BlockRange> ranges, Duration deadline) = 0;
};

/// Does not connect yet. Statements end after options.observer_timeout.
std::unique_ptr<Buffers> make_buffers(const Conninfo& server, const NodeOptions& options);

}  // namespace pgrm
