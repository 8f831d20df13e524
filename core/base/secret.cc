#include "core/base/secret.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>

namespace pgrm {

std::optional<std::string> read_secret(const std::string& file) {
  std::error_code problem;
  if (std::filesystem::is_directory(file, problem)) return std::nullopt;
  std::ifstream stream(file);
  std::string content(std::istreambuf_iterator<char>(stream), {});
  if (!stream) return std::nullopt;
  if (content.ends_with('\n')) content.pop_back();
  return content;
}

}  // namespace pgrm
