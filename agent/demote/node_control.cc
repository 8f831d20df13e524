#include "agent/demote/node_control.h"

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <utility>
#include <vector>

#include "agent/base/process.h"
#include "core/base/error.h"

namespace pgrm::agent {
namespace {

constexpr auto not_configured = "there are no commands that stop, rewind and start the old primary";
constexpr auto how_to_configure = "set NODE_CONTROL or --node-control to a directory with them";

class CommandNodeControl final : public NodeControl {
 public:
  CommandNodeControl(std::filesystem::path directory, NodeOrder order)
      : directory_(std::move(directory)), order_(std::move(order)) {}

  std::string problem(NodeVerb verb, Duration budget) override {
    if (directory_.empty()) return not_configured;
    const std::string path = command(verb);
    if (access(path.c_str(), X_OK) != 0) return path + " is not there or not executable";
    try {
      run_command({path, "--check"}, environment(verb), budget);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

  std::string command_line(NodeVerb verb) const override {
    std::string line;
    for (const auto& [name, value] : environment(verb)) line += fmt::format("{}={} ", name, value);
    return line + command(verb);
  }

  std::string carry_out(NodeVerb verb, Duration budget) override {
    if (directory_.empty()) throw Error(ErrorCode::configuration, not_configured, how_to_configure);
    return run_command({command(verb)}, environment(verb), budget);
  }

 private:
  std::string command(NodeVerb verb) const { return directory_ / to_string(verb); }

  std::map<std::string, std::string> environment(NodeVerb verb) const {
    return {{"PGRM_VERB", std::string(to_string(verb))},  {"PGRM_NODE_HOST", order_.server.host()},
            {"PGRM_NODE_PORT", order_.server.port()},     {"PGRM_PRIMARY_HOST", order_.primary.host()},
            {"PGRM_PRIMARY_PORT", order_.primary.port()}, {"PGRM_SLOT", order_.slot}};
  }

  std::filesystem::path directory_;
  NodeOrder order_;
};

}  // namespace

std::string_view to_string(NodeVerb verb) {
  constexpr std::string_view names[] = {"stop", "diverged", "rewind", "start"};
  return names[static_cast<int>(verb)];
}

std::unique_ptr<NodeControl> make_node_control(std::string directory, NodeOrder order) {
  return std::make_unique<CommandNodeControl>(std::move(directory), std::move(order));
}

}  // namespace pgrm::agent
