#include "core/base/secret.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <system_error>

namespace pgrm {

static std::optional<std::string> read(const std::string& file) {
  std::ifstream stream(file);
  std::string content(std::istreambuf_iterator<char>(stream), {});
  if (!stream) return std::nullopt;
  if (content.ends_with('\n')) content.pop_back();
  return content;
}

std::optional<std::string> read_secret(const std::string& file) {
  std::error_code problem;
  if (std::filesystem::is_directory(file, problem)) return std::nullopt;
  if (std::filesystem::is_regular_file(file, problem)) return read(file);
  static std::mutex mutex;
  static std::map<std::string, std::optional<std::string>> once;
  const std::scoped_lock lock(mutex);
  if (!once.contains(file)) once[file] = read(file);
  return once[file];
}

}  // namespace pgrm
