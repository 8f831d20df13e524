// What the targets share. A target may throw nothing but what it catches itself: anything else is a finding, as is a
// crash.
#pragma once

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace pgrm::fuzz {

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

/// What must hold for every input.
inline void require(bool condition) {
  if (!condition) std::abort();
}

/// A file with this content, the same one each time, for what reads only files.
inline std::string file_with(std::string_view content) {
  static const std::string path =
      (std::filesystem::temp_directory_path() / ("pgrm-fuzz-" + std::to_string(getpid()))).string();
  static const struct Removed {
    ~Removed() { std::filesystem::remove(path); }
  } removed;
  std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
  return path;
}

}  // namespace pgrm::fuzz
