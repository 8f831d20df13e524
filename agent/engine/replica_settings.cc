#include "agent/engine/replica_settings.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "agent/engine/acts.h"

namespace pgrm::agent {
namespace {

// How long a replica that does not take its settings back is asked again: the application goes on meanwhile.
constexpr auto patience = std::chrono::seconds(15);

/// "wal_init_zero = 'off', restore_command = ''"
std::string as_text(const SystemSettings& settings) {
  std::vector<std::string> texts;
  for (const auto& [name, value] : settings) texts.push_back(fmt::format("{} = '{}'", name, value.value_or("")));
  return fmt::format("{}", fmt::join(texts, ", "));
}

/// What a person types instead of the agent.
std::string statements(const SystemSettings& settings) {
  std::string text;
  for (const auto& [name, value] : settings) {
    text += value ? fmt::format("alter system set {} = '{}'; ", name, *value)
                  : fmt::format("alter system reset {}; ", name);
  }
  return text + "select pg_reload_conf()";
}

}  // namespace

std::string preview_replica_settings(Cutover& cutover) {
  if (cutover.replica_settings.empty()) return "no setting delays the promotion";
  return fmt::format("{} on {} until it is open", as_text(cutover.replica_settings),
                     cutover.options.pair.new_primary.address());
}

nlohmann::json before_replica_settings(Cutover& cutover) {
  if (cutover.replica_settings.empty()) return {};
  // What an earlier attempt could not put back is ours, and not what was there before.
  if (cutover.replica_settings_before.empty()) {
    std::vector<std::string> names;
    for (const auto& [name, value] : cutover.replica_settings) names.push_back(name);
    cutover.replica_settings_before = new_admin(cutover).system_settings(names, cutover.options.call_deadline);
  }
  nlohmann::json before;
  for (const auto& [name, value] : cutover.replica_settings_before) {
    before[name] = value ? nlohmann::json(*value) : nlohmann::json();
  }
  return before;
}

void recall_replica_settings(Cutover& cutover, const nlohmann::json& before) {
  for (const auto& [name, value] : before.items()) {
    cutover.replica_settings_before[name] = value.is_null() ? std::nullopt : std::optional(value.get<std::string>());
  }
}

std::string run_replica_settings(Cutover& cutover) {
  // A new agent finds writes stopped: too late to prepare for that.
  if (cutover.replica_settings.empty() || cutover.recovering) return "left as they are";
  try {
    new_admin(cutover).set_system_settings(cutover.replica_settings, cutover.options.call_deadline);
    return as_text(cutover.replica_settings);
  } catch (const Error& error) {
    cutover.wal_segment = 0;  // without the rest it gains little
    cutover.warnings.push_back(fmt::format("the promotion takes longer: {} cannot be set on the replica: {}",
                                           as_text(cutover.replica_settings), error.what()));
    return "left as they are: " + std::string(error.what());
  }
}

void restore_replica_settings(Cutover& cutover) {
  if (cutover.replica_settings_before.empty()) return;
  new_admin(cutover).set_system_settings(cutover.replica_settings_before, cutover.options.call_deadline);
  cutover.replica_settings_before.clear();
}

void undo_replica_settings(Cutover& cutover, const nlohmann::json&) {
  std::string trouble;
  const auto restored = [&] {
    try {
      restore_replica_settings(cutover);
      return true;
    } catch (const Error& error) {
      trouble = error.what();
      new_admin(cutover).disconnect();
      return false;
    }
  };
  if (wait_until(cutover.clock, patience, std::chrono::milliseconds(100), {}, restored) == WaitEnd::reached) return;
  cutover.warnings.push_back(fmt::format("settings of {} are not as they were: {}; {}",
                                         cutover.options.pair.new_primary.address(), trouble,
                                         statements(cutover.replica_settings_before)));
}

}  // namespace pgrm::agent
