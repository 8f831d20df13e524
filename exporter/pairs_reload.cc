#include "exporter/pairs_reload.h"

#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <sstream>
#include <utility>

namespace pgrm::exporter {

PairsReload::PairsReload(std::string path, Read read) : path_(std::move(path)), read_(std::move(read)) {}

PairsReload::Stamp PairsReload::stamp() const {
  struct stat status {};
  if (stat(path_.c_str(), &status) != 0) return std::nullopt;
  return std::tuple(status.st_ino, status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
}

/// The stamp comes first: a file that is replaced while it is read is read once more.
std::vector<NamedPair> PairsReload::take() {
  taken_ = stamp();
  return read_();
}

void PairsReload::look(bool asked, Fleet& fleet) {
  const Stamp now = stamp();
  const bool changed = now != taken_ && now == std::exchange(seen_, now);
  if (!asked && !changed) return;
  try {
    std::vector<NamedPair> pairs = take();
    const std::size_t count = pairs.size();
    fleet.watch(std::move(pairs));
    spdlog::info("reread {}: {} pairs", path_, count);
  } catch (const std::exception& error) {
    spdlog::error("the pairs stay as they were:");
    std::istringstream faults(error.what());
    for (std::string fault; std::getline(faults, fault);) spdlog::error("{}", fault);
  }
}

}  // namespace pgrm::exporter
