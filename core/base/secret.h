// A password or token: held, compared and handed on, but never printed.
#pragma once

#include <optional>
#include <string>
#include <utility>

namespace pgrm {

class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string value, std::string file = {}) : value_(std::move(value)), file_(std::move(file)) {}
  bool empty() const { return value_.empty(); }
  /// The only way out; the caller must not log it, report it or pass it on a command line.
  const std::string& reveal() const { return value_; }
  /// The file that it was read from; empty: none.
  const std::string& file() const { return file_; }

 private:
  std::string value_, file_;
};

/// What a file says, without one trailing newline. nullopt: it cannot be read. What is no regular file, such as
/// <(pass show pgrm), can be read only once: it says the same for as long as the process lives.
std::optional<std::string> read_secret(const std::string& file);

}  // namespace pgrm
