// Takes a changed pairs file into use.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "exporter/fleet.h"

namespace pgrm::exporter {

/// Not thread-safe.
class PairsReload {
 public:
  /// `read` reads the file at `path`; it has just been read for the first time.
  PairsReload(std::string path, std::function<std::vector<NamedPair>()> read, Fleet& fleet);

  /// Called every now and then: reads the file when it is `asked` to, or when the file has changed and has not changed
  /// since the last call, so that it is not read while it is written. A file with faults changes nothing, and the log
  /// has a line for each of them.
  void look(bool asked);

 private:
  using Stamp = std::optional<std::tuple<ino_t, off_t, time_t, long>>;  // nullopt: there is no such file
  Stamp stamp() const;

  const std::string path_;
  const std::function<std::vector<NamedPair>()> read_;
  Fleet& fleet_;
  Stamp taken_, seen_;
};

}  // namespace pgrm::exporter
