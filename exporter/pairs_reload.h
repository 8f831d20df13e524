// Takes a changed pairs file, and a changed password of a pair, into use.
#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "core/base/config.h"
#include "exporter/fleet.h"

namespace pgrm::exporter {

/// The password files that the exporter reads for the pairs of a file. Reads none of them. Throws what read_pairs()
/// does.
std::vector<std::string> password_files(const std::string& pairs_file,
                                        const Settings::Environment& environment = process_environment());

/// Not thread-safe.
class PairsReload {
 public:
  using Files = std::function<std::vector<std::string>()>;
  using Read = std::function<std::vector<NamedPair>()>;

  /// `read` reads the file at `path`, and the files that `others` names.
  PairsReload(std::string path, Files others, Read read);

  /// Reads for the first time. Throws what `read` throws.
  std::vector<NamedPair> first() { return take(); }

  /// Called every now and then: reads when it is `asked` to, or when one of the files has changed and has not changed
  /// since the last call, so that it is not read while it is written. A file with faults changes nothing, and the log
  /// has a line for each of them.
  void look(bool asked, Fleet& fleet);

 private:
  using Stamp = std::optional<std::tuple<ino_t, off_t, time_t, long>>;  // nullopt: there is no such file
  using Stamps = std::map<std::string, Stamp>;                          // by file
  static Stamp stamp_of(const std::string& file);
  std::vector<NamedPair> take();

  const std::string path_;
  const Files others_;
  const Read read_;
  Stamps taken_, seen_;
};

}  // namespace pgrm::exporter
