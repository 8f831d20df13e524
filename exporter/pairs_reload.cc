#include "exporter/pairs_reload.h"

#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <sstream>
#include <utility>

namespace pgrm::exporter {

PairsReload::PairsReload(std::string path, std::function<std::vector<NamedPair>()> read, Fleet& fleet)
    : path_(std::move(path)), read_(std::move(read)), fleet_(fleet), taken_(stamp()), seen_(taken_) {}

PairsReload::Stamp PairsReload::stamp() const {
  struct stat file {};
  if (stat(path_.c_str(), &file) != 0) return std::nullopt;
  return std::tuple(file.st_ino, file.st_size, file.st_mtim.tv_sec, file.st_mtim.tv_nsec);
}

void PairsReload::look(bool asked) {
  const Stamp now = stamp();
  const bool changed = now != taken_ && now == std::exchange(seen_, now);
  if (!asked && !changed) return;
  taken_ = now;
  try {
    std::vector<NamedPair> pairs = read_();
    const std::size_t count = pairs.size();
    fleet_.watch(std::move(pairs));
    spdlog::info("reread {}: {} pairs", path_, count);
  } catch (const std::exception& error) {
    spdlog::error("the pairs stay as they were:");
    std::istringstream faults(error.what());
    for (std::string fault; std::getline(faults, fault);) spdlog::error("{}", fault);
  }
}

}  // namespace pgrm::exporter
