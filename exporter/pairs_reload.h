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
  using Read = std::function<std::vector<NamedPair>()>;

  /// `read` reads the file at `path`.
  PairsReload(std::string path, Read read);

  /// Reads for the first time. Throws what `read` throws.
  std::vector<NamedPair> first() { return take(); }

  /// Called every now and then: reads when it is `asked` to, or when the file has changed and has not changed since
  /// the last call, so that it is not read while it is written. A file with faults changes nothing, and the log
  /// has a line for each of them.
  void look(bool asked, Fleet& fleet);

 private:
  using Stamp = std::optional<std::tuple<ino_t, off_t, time_t, long>>;  // nullopt: there is no such file
  Stamp stamp() const;
  std::vector<NamedPair> take();

  const std::string path_;
  const Read read_;
  Stamp taken_, seen_;
};

}  // namespace pgrm::exporter
