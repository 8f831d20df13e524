#include "agent/traffic/traffic.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "agent/base/process.h"
#include "agent/traffic/pgbouncer.h"
#include "core/base/error.h"

namespace pgrm::agent {
namespace {

class LoadgenTraffic final : public Traffic {
 public:
  explicit LoadgenTraffic(std::unique_ptr<http::Client> client) : client_(std::move(client)) {}

  std::string name() const override { return "loadgen"; }

  std::string problem() override {
    try {
      const auto state = nlohmann::json::parse(http::get_ok(*client_, "/api/v1/state", std::chrono::seconds(2)));
      return state.at("paused").get<bool>() ? "it is paused already" : "";
    } catch (const Error& error) {
      return error.what();
    } catch (const nlohmann::json::exception&) {
      return client_->describe() + " is no loadgen: set LOADGEN_URL";
    }
  }

  std::vector<std::string> orders(TrafficCall call) override {
    if (call == TrafficCall::after_fence) return {};
    return {fmt::format("POST {}/api/v1/{}", client_->describe(), call == TrafficCall::stop ? "pause" : "resume")};
  }

  void stop(Duration budget) override { order("/api/v1/pause", budget); }
  void resume_on_new(Duration budget) override { order("/api/v1/resume", budget); }
  void resume_on_old(Duration budget) override { order("/api/v1/resume", budget); }

 private:
  void order(const std::string& path, Duration budget) {
    const http::Reply reply = client_->post(path, budget);
    if (reply.status == 200) return;
    throw Error(ErrorCode::http_failed, fmt::format("{}{} answered {}", client_->describe(), path, reply.status),
                reply.status == 401 || reply.status == 403
                    ? "set LOADGEN_CONTROL_TOKEN, or LOADGEN_USER and LOADGEN_PASSWORD, as loadgen has them"
                    : "");
  }

  std::unique_ptr<http::Client> client_;
};

class HookTraffic final : public Traffic {
 public:
  HookTraffic(std::string directory, std::vector<std::string> hooks, TrafficContext context)
      : directory_(std::move(directory)), hooks_(std::move(hooks)), context_(std::move(context)) {}

  std::string name() const override { return "hooks"; }

  std::string problem() override {
    std::error_code problem;
    if (!std::filesystem::is_directory(directory_, problem)) {
      const bool hidden = problem && problem != std::errc::no_such_file_or_directory;
      return directory_ + (hidden ? ": " + problem.message() : " is no directory");
    }
    if (hooks_.empty()) return directory_ + " has no hook";
    for (const std::string& hook : hooks_) {
      const auto path = std::filesystem::path(directory_) / hook;
      if (access(path.c_str(), X_OK) != 0) return path.string() + " is not executable";
    }
    return "";
  }

  std::vector<std::string> orders(TrafficCall call) override {
    if (!is_there(hook_of(call))) return {};
    std::string line;
    for (const auto& [name, value] : environment(hook_of(call))) line += fmt::format("{}={} ", name, value);
    return {line + (std::filesystem::path(directory_) / hook_of(call)).string()};
  }

  void stop(Duration budget) override { run(TrafficCall::stop, budget); }
  void after_fence(Duration budget) override { run(TrafficCall::after_fence, budget); }
  void resume_on_new(Duration budget) override { run(TrafficCall::resume_on_new, budget); }
  void resume_on_old(Duration budget) override { run(TrafficCall::resume_on_old, budget); }
  bool holds_application() const override { return false; }

 private:
  static const char* hook_of(TrafficCall call) {
    constexpr const char* names[] = {"pre_fence", "post_fence", "post_promote", "on_undo"};
    return names[static_cast<int>(call)];
  }

  bool is_there(std::string_view hook) const { return std::ranges::find(hooks_, hook) != hooks_.end(); }

  std::map<std::string, std::string> environment(const char* hook) const {
    return {{"PGRM_HOOK", hook},
            {"PGRM_CUTOVER", context_.cutover_id},
            {"PGRM_OLD_PRIMARY", context_.old_primary},
            {"PGRM_NEW_PRIMARY", context_.new_primary},
            {"PGRM_DATABASE", context_.database}};
  }

  void run(TrafficCall call, Duration budget) {
    const char* const hook = hook_of(call);
    if (!is_there(hook)) return;
    const auto path = std::filesystem::path(directory_) / hook;
    if (!std::filesystem::exists(path)) {
      throw Error(ErrorCode::file_failed, fmt::format("the hook {} is not there any more", path.string()),
                  "put it back; or do by hand what it does, then: agent recover --traffic none");
    }
    auto told = environment(hook);
    told["PGRM_SECONDS"] = fmt::format("{:.2f}", to_seconds(budget));
    run_command({path.string()}, told, budget);
  }

  std::string directory_;
  std::vector<std::string> hooks_;
  TrafficContext context_;
};

}  // namespace

std::unique_ptr<Traffic> make_loadgen_traffic(std::unique_ptr<http::Client> loadgen) {
  return std::make_unique<LoadgenTraffic>(std::move(loadgen));
}

std::unique_ptr<Traffic> make_hook_traffic(std::string directory, std::vector<std::string> hooks,
                                           TrafficContext context) {
  return std::make_unique<HookTraffic>(std::move(directory), std::move(hooks), std::move(context));
}

Traffics make_traffics(const Options& options, const TrafficContext& context) {
  Traffics drivers;
  if (options.tells("loadgen")) {
    drivers.push_back(make_loadgen_traffic(http::make_client(options.loadgen_url, options.loadgen_access)));
  }
  // Before the poolers: what a hook changes for them is there when they read their configuration.
  if (!options.hooks_directory.empty()) {
    drivers.push_back(make_hook_traffic(options.hooks_directory, options.hooks, context));
  }
  if (options.tells("pgbouncer")) {
    drivers.push_back(make_pgbouncer_traffic({
        .consoles = options.poolers,
        .files = options.pooler_databases,
        .old_primary = options.pair.old_primary,
        .new_primary = options.pair.new_primary,
        .hook_repoints = std::ranges::find(options.hooks, "post_promote") != options.hooks.end(),
        .call_deadline = options.call_deadline,
    }));
  }
  return drivers;
}

}  // namespace pgrm::agent
