// A password or token: held, compared and handed on, but never printed.
#pragma once

#include <string>
#include <utility>

namespace pgrm {

class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string value) : value_(std::move(value)) {}
  bool empty() const { return value_.empty(); }
  /// The only way out; the caller must not log it, report it or pass it on a command line.
  const std::string& reveal() const { return value_; }

 private:
  std::string value_;
};

}  // namespace pgrm
