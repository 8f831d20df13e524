#include "core/base/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "core/base/error.h"

namespace pgrm {

const Setting& setting(std::string_view variable) {
  const auto* const row = std::ranges::find(settings_table, variable, &Setting::variable);
  if (row == settings_table.end()) throw Error(ErrorCode::internal, fmt::format("no setting {}", variable));
  return *row;
}

/// PRIMARY_HOST, REPLICA_DSN and their like: settings that are chosen together.
static bool names_a_server(std::string_view variable) {
  return variable.starts_with("PRIMARY_") || variable.starts_with("REPLICA_");
}

Settings::Settings(Values flags, Environment environment, Values file)
    : flags_(std::move(flags)), environment_(std::move(environment)), file_(std::move(file)) {}

std::optional<Settings::Found> Settings::find(std::string_view variable) const {
  const Setting& row = setting(variable);
  const std::string name(variable);
  if (const auto flag = flags_.find(name); flag != flags_.end())
    return Found{flag->second, std::string(row.flag), false};
  if (given_by_pair(variable)) {
    const PairEntry::Value& own = pair_->values.find(variable)->second;
    return Found{own.text, own.origin, false};
  }
  if (pair_ && names_a_server(variable)) return std::nullopt;
  if (auto value = environment_(name); value && !value->empty()) return Found{std::move(*value), name, false};
  if (const auto entry = file_.find(name); entry != file_.end()) {
    return Found{entry->second, std::string(row.flag.substr(2)) + " in the --config file", false};
  }
  if (!row.default_value.empty()) return Found{std::string(row.default_value), name, true};
  return std::nullopt;
}

Settings Settings::of_pair(PairEntry pair) const {
  for (const auto& [variable, value] : flags_) {
    if (!names_a_server(variable)) continue;
    throw Error(ErrorCode::usage,
                fmt::format("{} is given for the pair {}, whose servers stand in the pairs file",
                            setting(variable).flag, pair.name),
                "leave it out, or change the file");
  }
  Settings settings = *this;
  settings.pair_ = std::move(pair);
  return settings;
}

void Settings::refuse(const Found& found, const std::string& allowed) {
  throw Error(ErrorCode::configuration, fmt::format("{} is \"{}\", allowed is {}", found.origin, found.value, allowed));
}

std::optional<std::string> Settings::optional_text(std::string_view variable) const {
  auto found = find(variable);
  if (!found) return std::nullopt;
  return std::move(found->value);
}

std::string Settings::text(std::string_view variable) const {
  auto value = optional_text(variable);
  if (!value) throw Error(ErrorCode::configuration, fmt::format("{} is not set", variable));
  return std::move(*value);
}

double Settings::number(std::string_view variable, double min, double max) const {
  const auto found = find(variable);
  if (!found) throw Error(ErrorCode::configuration, fmt::format("{} is not set", variable));
  char* end = nullptr;
  const double value = std::strtod(found->value.c_str(), &end);
  // The comparison is written so that "nan" fails it.
  if (end == found->value.c_str() || *end != '\0' || !(value >= min && value <= max)) {
    refuse(*found, fmt::format("a number from {} to {}", min, max));
  }
  return value;
}

long Settings::integer(std::string_view variable, long min, long max) const {
  const auto found = find(variable);
  if (!found) throw Error(ErrorCode::configuration, fmt::format("{} is not set", variable));
  char* end = nullptr;
  errno = 0;
  const long value = std::strtol(found->value.c_str(), &end, 10);
  if (end == found->value.c_str() || *end != '\0' || errno == ERANGE || value < min || value > max) {
    refuse(*found, fmt::format("a whole number from {} to {}", min, max));
  }
  return value;
}

Duration Settings::seconds(std::string_view variable, double min, double max) const {
  return from_seconds(number(variable, min, max));
}

std::string Settings::one_of(std::string_view variable, std::initializer_list<std::string_view> allowed) const {
  const auto found = find(variable);
  std::string value = found ? found->value : "";
  if (std::ranges::find(allowed, value) == allowed.end()) {
    refuse(found.value_or(Found{"", std::string(variable), false}), fmt::format("{}", fmt::join(allowed, ", ")));
  }
  return value;
}

std::optional<std::string> Settings::file_of_secret(const std::string& name) const {
  if (given_by_pair(name + "_FILE")) return pair_->values.find(name + "_FILE")->second.text;
  return environment_(name + "_FILE");
}

Secret Settings::secret(std::string_view variable) const {
  const std::string name(variable);
  const bool own = given_by_pair(name + "_FILE");
  if (auto value = environment_(name); !own && value && !value->empty()) return Secret(std::move(*value));
  const auto path = file_of_secret(name);
  if (!path || path->empty()) return {};
  auto content = read_secret(*path);
  if (!content) {
    const std::string origin = own ? pair_->values.find(name + "_FILE")->second.origin : name + "_FILE";
    throw Error(ErrorCode::configuration, fmt::format("{} is \"{}\", which cannot be read", origin, *path));
  }
  return Secret(std::move(*content), *path);
}

bool Settings::given(std::string_view variable) const {
  const auto found = find(variable);
  return found && !found->is_default;
}

bool Settings::given_as_flag(std::string_view variable) const { return flags_.contains(variable); }

Settings::Environment process_environment() {
  return [](const std::string& name) -> std::optional<std::string> {
    const char* const value = std::getenv(name.c_str());
    if (value == nullptr) return std::nullopt;
    return value;
  };
}

}  // namespace pgrm
