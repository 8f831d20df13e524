#include "exporter/pairs_reload.h"

#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <sstream>
#include <utility>

#include "core/base/pairs.h"

namespace pgrm::exporter {

std::vector<std::string> password_files(const std::string& pairs_file, const Settings::Environment& environment) {
  constexpr auto variable = "POSTGRES_PASSWORD_FILE";
  std::vector<std::string> files;
  for (const PairEntry& pair : read_pairs(pairs_file)) {
    const auto own = pair.values.find(variable);
    const auto file = own != pair.values.end() ? own->second.text : environment(variable).value_or("");
    if (!file.empty()) files.push_back(file);
  }
  return files;
}

PairsReload::PairsReload(std::string path, Files others, Read read)
    : path_(std::move(path)), others_(std::move(others)), read_(std::move(read)), taken_{{path_, {}}} {}

PairsReload::Stamp PairsReload::stamp_of(const std::string& file) {
  struct stat status {};
  if (stat(file.c_str(), &status) != 0) return std::nullopt;
  return std::tuple(status.st_ino, status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
}

/// The stamps come first: a file that is replaced while it is read is read once more.
std::vector<NamedPair> PairsReload::take() {
  for (auto& [file, stamp] : taken_) stamp = stamp_of(file);
  Stamps taken{{path_, taken_.at(path_)}};
  for (const std::string& file : others_()) taken.emplace(file, stamp_of(file));
  taken_ = std::move(taken);
  return read_();
}

void PairsReload::look(bool asked, Fleet& fleet) {
  Stamps now;
  for (const auto& [file, stamp] : taken_) now.emplace(file, stamp_of(file));
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
