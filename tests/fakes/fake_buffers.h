// Buffers in memory: what a server keeps is a list of chunks, and what is loaded is added to it.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/pg/buffers.h"

namespace pgrm {

/// One server's.
struct FakeCache {
  BufferTools tools{.database = 5,
                    .block_size = 8192,
                    .shared_buffers = 1000,
                    .buffercache = {true, "public.pg_buffercache_pages", true, ""},
                    .prewarm = {true, "public.pg_prewarm", true, ""},
                    .can_read = true,
                    .databases = {{5, "postgres"}, {6, "testdb"}}};
  std::vector<Chunk> kept, asked_for;
  std::vector<BlockRange> loaded;                       // in order
  std::set<std::uint32_t> denied;                       // files that may not be read
  std::function<void(const std::string& call)> before;  // may throw

  void call(const std::string& name) const {
    if (before) before(name);
  }
};

/// A session in one of its databases.
class FakeBuffers final : public Buffers {
 public:
  FakeBuffers(FakeCache& cache, std::string database) : cache_(cache), database_(std::move(database)) {}

  BufferTools tools(Duration) override {
    cache_.call("tools(" + database_ + ")");
    return cache_.tools;
  }
  std::vector<Chunk> kept(Duration) override {
    cache_.call("kept");
    return cache_.kept;
  }
  std::vector<Chunk> asked_for(std::int64_t, Duration) override {
    cache_.call("asked_for");
    std::vector<Chunk> own;
    for (const Chunk& chunk : cache_.asked_for) {
      const auto name = cache_.tools.databases.find(chunk.file.database);
      if (name != cache_.tools.databases.end() && name->second == database_) own.push_back(chunk);
    }
    return own;
  }
  Loaded load(std::span<const BlockRange> ranges, Duration) override {
    cache_.call("load");
    for (const BlockRange& range : ranges) {
      if (cache_.denied.contains(range.file.file)) throw Error(ErrorCode::permission_denied, "permission denied");
    }
    Loaded answer;
    for (const BlockRange& range : ranges) {
      cache_.loaded.push_back(range);
      answer.loaded += range.count();
      for (std::int64_t block = range.first; block <= range.last; ++block) {
        cache_.kept.push_back({range.file, block / Chunk::width, std::uint64_t{1} << (block % Chunk::width), 1});
      }
    }
    return answer;
  }

 private:
  FakeCache& cache_;
  const std::string database_;
};

}  // namespace pgrm
